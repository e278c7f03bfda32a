"""Write what is made from the declarations of Params: the stubs beside them, docs/params.md, the traits for Scala.

Run ``python docs/make_params.py`` after a change to a declaration; ``--check`` only says what is out of date.
"""

from __future__ import annotations

import argparse
import inspect
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

import make_scala_params  # noqa: E402
from make_scala_params import all_of, declared  # noqa: E402

from sparkdl.params import stages  # noqa: E402
from sparkdl.params.scoring import HasScoring  # noqa: E402
from sparkdl.params.setting import Setting, Settings  # noqa: E402

FILES = ("columns", "network", "training", "ranks", "feed", "checkpoint", "reporting", "scoring")
OWNERS = {
    "TorchEstimator": stages.EstimatorParams,
    "TorchClassifier": stages.ClassifierParams,
    "TorchRegressor": stages.RegressorParams,
}
HEADER = '''"""Made by docs/make_params.py from the declarations in {name}.py: change those."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self, TypedDict, Unpack

import torch
from pyspark.ml.param import Param
{shared}
{own}
from sparkdl.train.callbacks import Callback
'''


def classes_of(module: ModuleType) -> list[type]:
    """Return the Settings classes that a module defines, in the order of the file."""
    return [c for c in vars(module).values() if inspect.isclass(c) and c.__module__ == module.__name__]


def stub_of(name: str) -> str:
    """Return the stub of one file of declarations."""
    module = import_module(f"sparkdl.params.{name}")
    classes = classes_of(module)
    bases = {base for cls in classes for base in cls.__bases__ if base.__module__ != module.__name__}
    imports = {
        prefix: [
            f"from {source} import {', '.join(sorted(b.__name__ for b in bases if b.__module__ == source))}"
            for source in sorted({b.__module__ for b in bases if b.__module__.startswith(prefix)})
        ]
        for prefix in ("pyspark", "sparkdl")
    }
    header = HEADER.format(name=name, shared="\n".join(imports["pyspark"]), own="\n".join(imports["sparkdl"]))
    text = header + "".join("\n" + "\n".join(stub_lines(cls)) + "\n" for cls in classes)
    for command in (("check", "--quiet", "--fix", "--select", "F401,I"), ("format", "--quiet")):
        text = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--stdin-filename", f"sparkdl/params/{name}.pyi", "-"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            timeout=60,
        ).stdout
    return text


def stub_lines(cls: type) -> Iterator[str]:
    """Yield the lines of one class in a stub, before a stage those of its keywords."""
    if cls.__module__ == stages.__name__ and new_keywords(cls):
        base = keywords_name(parent) if (parent := stage_above(cls)) else "TypedDict"
        yield f"class {keywords_name(cls)}({base}, total=False):"
        yield from (f"    {name}: {taken(setting)} | None" for name, setting in sorted(new_keywords(cls).items()))
        yield ""
    yield f"class {cls.__name__}({', '.join(base.__name__ for base in cls.__bases__)}):"
    empty = True
    for name, setting in declared(cls).items():
        empty = False
        kind = setting.kind.annotation
        result = kind if setting.default is not None else f"{kind} | None"
        upper = name[0].upper() + name[1:]
        spark_kind = spark_kind_of(cls, name)
        yield f"    {name}: Param[{kind}]" + ignored("assignment", kind, spark_kind)
        yield f"    def get{upper}(self) -> {result}: ..." + ignored("override", result, spark_kind)
        yield f"    def set{upper}(self, value: {taken(setting)} | None) -> Self: ..."
    if cls.__module__ == stages.__name__ and new_keywords(cls):
        empty = False
        yield f"    def __init__(self, **params: Unpack[{keywords_name(cls)}]) -> None: ..."
        yield f"    def setParams(self, **params: Unpack[{keywords_name(cls)}]) -> Self: ...  # type: ignore[override]"
    if empty:
        yield "    ..."


def stage_above(cls: type) -> type | None:
    """Return the stage that a stage extends, None for the one that all extend."""
    return next((base for base in cls.__bases__ if base.__module__ == stages.__name__), None)


def new_keywords(cls: type) -> dict[str, Setting]:
    """Return the Settings of a stage that the stage it extends lacks."""
    parent = stage_above(cls)
    known = all_of(parent) if parent else {}
    return {name: setting for name, setting in all_of(cls).items() if name not in known}


def keywords_name(cls: type) -> str:
    """Return the name of the TypedDict of a stage's keywords, which only type checkers know."""
    return f"_{cls.__name__.removesuffix('Params')}Keywords"


def spark_kind_of(cls: type, name: str) -> str | None:
    """Return the type of a Param in the mixin of Spark's that has it too, None where there is none."""
    for base in cls.__mro__:
        if base.__module__.startswith("pyspark") and name in vars(base):
            return str(inspect.get_annotations(base)[name]).strip("'\"")[len("Param[") : -1].replace("List", "list")
    return None


def ignored(code: str, ours: str, spark: str | None) -> str:
    """Return the comment for a type that differs from Spark's."""
    return "" if spark in (None, ours) else f"  # type: ignore[{code}]"


def taken(setting: Setting) -> str:
    """Return the type of what a setter takes: any sequence for a list, any mapping for a dict."""
    return setting.kind.annotation.replace("list[", "Sequence[").replace("dict[", "Mapping[")


def table_of(settings: dict[str, Setting], with_owners: bool) -> Iterator[str]:
    """Yield the lines of a Markdown table of Params."""
    yield "| Param | default | takes | meaning |" + (" of |" if with_owners else "")
    yield "| --- | --- | --- | --- |" + (" --- |" if with_owners else "")
    for name, setting in settings.items():
        default = "" if setting.default is None else f"`{setting.default!r}`"
        line = f"| {name} | {default} | {setting.kind.needs} | {setting.doc} |"
        if with_owners:
            owners = [owner for owner, cls in OWNERS.items() if name in all_of(cls)]
            line += f" {'all' if len(owners) == len(OWNERS) else ', '.join(owners)} |"
        yield line


def table_page() -> str:
    """Return docs/params.md."""
    found: dict[str, Setting] = {}
    for name in FILES:
        if name != "scoring":
            for cls in classes_of(import_module(f"sparkdl.params.{name}")):
                found.update(declared(cls))
    scoring = all_of(HasScoring)
    lines = [
        "# Params",
        "",
        "Made from the declarations in `sparkdl/params` by `python docs/make_params.py`.",
        "",
        "Each has `getX`, `setX`, and its place in the constructor, in `setParams` and in ParamMaps. A default that is",
        "empty means: not set. None takes a value away again.",
        "",
        "## Of the estimators",
        "",
        *table_of(found, True),
        "",
        "## Of the models",
        "",
        "The columns of the estimator, which are copied from it, and these, which are not:",
        "",
        *table_of({name: scoring[name] for name in sorted(scoring)}, False),
        "",
    ]
    return "\n".join(lines)


def made() -> dict[Path, str]:
    """Return every file that is made, with its text."""
    stubs = {ROOT / "sparkdl" / "params" / f"{name}.pyi": stub_of(name) for name in (*FILES, "stages")}
    scala = make_scala_params.made((*FILES, "stages"))
    return {**stubs, **scala, ROOT / "docs" / "params.md": table_page()}


def main() -> int:
    """Write or check the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is out of date")
    check = parser.parse_args().check
    stale = [path for path, text in made().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        print(f"{'out of date' if check else 'written'}: {path.relative_to(ROOT)}")
        if not check:
            path.write_text(made()[path])
    return int(check and bool(stale))


if __name__ == "__main__":
    assert issubclass(HasScoring, Settings)
    raise SystemExit(main())
