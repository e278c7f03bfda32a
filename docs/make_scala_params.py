"""What is made from the declarations of Params for Scala and Java; ``python docs/make_params.py`` writes it.

A trait for each mixin with its Params, defaults and getters; for each stage that is there a trait of its setters, which
return the stage itself to Java too (a setter in a mixin would return the mixin); and what a test compares.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from scala_source import ONLY_IN_PYTHON, WIDTH, doc_lines, extends, file_of, literal, text_lines, upper

import sparkdl
from sparkdl.estimators.model import NetworkModel
from sparkdl.params.setting import Setting, Settings

ROOT = Path(__file__).resolve().parent.parent
MAIN = ROOT / "scala-bridge" / "src" / "main" / "scala" / "sparkdl"
EXPECTED = ROOT / "scala-bridge" / "src" / "test" / "resources" / "params.json"

PARAM_TYPES = {
    "_whole": "IntParam",
    "_level": "IntParam",
    "_number": "DoubleParam",
    "_flag": "BooleanParam",
    "_text": "Param[String]",
    "_choice": "Param[String]",
    "_switch": "Param[String]",
    "_columns": "StringArrayParam",
    "_numbers": "DoubleArrayParam",
    "_thresholds": "DoubleArrayParam",
}
"""The class of a Param by the check of its kind; JsonParam for all others."""
VALUE_TYPES = {
    "IntParam": "Int",
    "LongParam": "Long",
    "DoubleParam": "Double",
    "BooleanParam": "Boolean",
    "StringArrayParam": "Array[String]",
    "DoubleArrayParam": "Array[Double]",
}
"""What a Param holds; String for all others."""
MAPS = ("JavaMap[String, _]", "collection.Map[String, Any]")
LISTS = ("JavaList[_]", "collection.Seq[Any]")
OVERLOADS = {
    "_options": MAPS,
    "_flag_or_options": ("Boolean", *MAPS),
    "_amounts": MAPS,
    "_words": MAPS,
    "_options_for_each": (*MAPS, *LISTS),
    "_named_or_each": ("Array[String]", *LISTS),
    "_named_list": ("Array[String]", *LISTS),
    "_class_weights": ("Array[Double]", *LISTS),
    "_callbacks": ("Array[String]", *LISTS),
}
"""What else than a text the setter of a JsonParam takes."""
KEYWORDS = {"_whole": ("minimum", "besides"), "_number": ("above", "minimum", "below")}
OVERRIDDEN = {"handleInvalid"}
"""Params of Spark's traits that are made for being overridden, and do not take what ours take."""


class Stage(NamedTuple):
    """A public stage in Scala: the class of Spark's that it extends, and the Params whose setters that one has."""

    extends: str
    has_setters: tuple[str, ...] = ()


STAGES = {
    "TorchEstimator": Stage("Estimator"),
    "TorchClassifier": Stage(
        "ProbabilisticClassifier",
        ("featuresCol", "labelCol", "predictionCol", "rawPredictionCol", "probabilityCol", "thresholds"),
    ),
    "TorchRegressor": Stage("Regressor", ("featuresCol", "labelCol", "predictionCol")),
    "TorchModel": Stage("Model"),
    "TorchClassificationModel": Stage(
        "ProbabilisticClassificationModel",
        ("featuresCol", "predictionCol", "rawPredictionCol", "probabilityCol", "thresholds"),
    ),
    "TorchRegressionModel": Stage("RegressionModel", ("featuresCol", "predictionCol")),
}


def declared(cls: type) -> dict[str, Setting]:
    """Return the Settings that a class declares itself, in the order of the file."""
    return {name: value for name, value in vars(cls).items() if isinstance(value, Setting)}


def all_of(cls: type) -> dict[str, Setting]:
    """Return the Settings of a class and its bases, in the order of the bases."""
    found: dict[str, Setting] = {}
    for base in cls.__mro__:
        for name, setting in declared(base).items():
            found.setdefault(name, setting)
    return found


def check_of(setting: Setting) -> tuple[str, tuple[Any, ...]]:
    """Return the name of the function that checks a value, and what it was given beforehand."""
    accept = setting.kind.accept
    if isinstance(accept, partial):
        return accept.func.__name__, accept.args
    return accept.__name__, ()


def sparks(cls: type, name: str) -> bool:
    """Say whether a Param comes from a trait of Spark's."""
    return any(
        base.__module__.startswith("pyspark") and base.__name__ not in ONLY_IN_PYTHON and name in vars(base)
        for base in cls.__mro__
    )


def param_type(cls: type, name: str, setting: Setting) -> str:
    """Return the class of a Param in Scala."""
    if name == "seed" and sparks(cls, name):
        return "LongParam"
    return PARAM_TYPES.get(check_of(setting)[0], "JsonParam")


def value_type(param: str) -> str:
    """Return the type of the values of a Param in Scala."""
    return VALUE_TYPES.get(param, "String")


def kind_in_scala(setting: Setting) -> str:
    """Return the expression of what a Param takes, a function of Kinds."""
    check, given = check_of(setting)
    words = check.strip("_").split("_")
    name = "Kinds." + words[0] + "".join(word.capitalize() for word in words[1:])
    if check == "_choice":
        return f"{name}({', '.join(literal(choice) for choice in given[0])})"
    if check == "_numbers":
        return f"{name}({'' if given[0] is None else literal(given[0])})"
    if check in KEYWORDS:
        named = zip(KEYWORDS[check], given, strict=True)
        return f"{name}({', '.join(f'{word} = {literal(value)}' for word, value in named if value is not None)})"
    return f"{name}({', '.join(literal(value) for value in given)})" if given else name


def param_lines(cls: type, name: str, setting: Setting) -> Iterator[str]:
    """Yield the lines that declare one Param and its getter."""
    kind = param_type(cls, name, setting)
    yield from doc_lines(upper(setting.doc))
    if setting.secret:
        yield f"  private[sparkdl] final val {name}: Secret = new Secret("
        yield f'    "{name}",'
        yield from text_lines(setting.doc, "    ")
        yield f"    {literal(setting.default)},"
        yield from text_lines(setting.kind.needs, "    ")
        yield f"    {kind_in_scala(setting)}"
        yield "  )"
        yield ""
        yield f"  private[sparkdl] final def get{upper(name)}: String = secretOf({name})"
        return
    needs = [setting.kind.needs] if kind == "JsonParam" else []
    takes = [kind_in_scala(setting)] if kind != "BooleanParam" else []
    modifier = "override" if name in OVERRIDDEN else "final"
    start = f"  {modifier} val {name}: {kind} = new {kind}("
    one_line = start + ", ".join(["this", f'"{name}"', *map(literal, (setting.doc, *needs)), *takes]) + ")"
    if len(one_line) <= WIDTH:
        yield one_line
    else:
        lines = ["    this,", f'    "{name}",', *text_lines(setting.doc, "    ")]
        for words in needs:
            lines += text_lines(words, "    ")
        lines += [f"    {each}" for each in takes]
        lines[-1] = lines[-1].removesuffix(",")
        yield from (start, *lines, "  )")
    if name not in OVERRIDDEN:
        yield ""
        yield from doc_lines(f"Returns {name}: {setting.doc}")
        yield f"  final def get{upper(name)}: {value_type(kind)} = $({name})"


def bases_of(cls: type) -> list[str]:
    """Return the names of the traits that a mixin extends: Spark's, and ours."""
    names = [
        scala_name(base)
        for base in cls.__bases__
        if issubclass(base, Settings) or base.__module__ == "pyspark.ml.param.shared"
        if base is not Settings and base.__name__ not in ONLY_IN_PYTHON
    ]
    if any(setting.secret for setting in declared(cls).values()):
        names.append("HasSecrets")
    return names or ["Params"]


def scala_name(cls: type) -> str:
    """Return the name of a mixin's trait."""
    return "ModelParams" if cls is NetworkModel else cls.__name__


def trait_lines(cls: type) -> Iterator[str]:
    """Yield the lines of the trait of one mixin."""
    own = declared(cls)
    yield from doc_lines(first_line(cls), "")
    body = list(body_lines(cls, own))
    yield from extends(bases_of(cls), f"trait {scala_name(cls)}", " {" if body else "")
    if body:
        yield from (*body, "}")


def body_lines(cls: type, own: dict[str, Setting]) -> Iterator[str]:
    """Yield what stands in a trait: each Param that Spark's traits have not, and the defaults of all."""
    for name, setting in own.items():
        if name in OVERRIDDEN or not sparks(cls, name):
            yield ""
            yield from param_lines(cls, name, setting)
    defaults = [
        f"{name} -> {default_in_scala(cls, name, setting)}"
        for name, setting in own.items()
        if setting.default is not None and not setting.secret
    ]
    if not defaults:
        return
    yield ""
    line = f"  setDefault({', '.join(defaults)})"
    if len(line) <= WIDTH:
        yield line
    else:
        yield "  setDefault("
        yield from (f"    {default}," for default in defaults[:-1])
        yield from (f"    {defaults[-1]}", "  )")


def first_line(cls: type) -> str:
    """Return the line that describes a mixin."""
    if cls is NetworkModel:
        return "What all models have."
    return (cls.__doc__ or "").strip().splitlines()[0]


def default_in_scala(cls: type, name: str, setting: Setting) -> str:
    """Return a default as Scala writes it."""
    kind = param_type(cls, name, setting)
    if kind == "JsonParam" and isinstance(setting.default, bool):
        return literal(json.dumps(setting.default))
    return literal(setting.default) + ("L" if kind == "LongParam" else "")


def setter_lines(cls: type, name: str, setting: Setting) -> Iterator[str]:
    """Yield the lines of the setters of one Param, one for each type that it takes."""
    kind = param_type(cls, name, setting)
    yield from doc_lines(f"Sets {name}: {setting.doc}")
    setter = f"  def set{upper(name)}(value:"
    if setting.secret:
        bodies = dict.fromkeys(("String", *MAPS), f"setSecret({name}, value)")
    else:
        bodies = {value_type(kind): f"set({name}, value)"}
    if check_of(setting)[0] == "_switch":
        bodies["Boolean"] = f"set({name}, value.toString)"
    if kind == "JsonParam" and not setting.secret:
        bodies |= dict.fromkeys(OVERLOADS.get(check_of(setting)[0], ()), f"set({name}, {name}.textOf(value))")
    for taken, body in bodies.items():
        line = f"{setter} {taken}): this.type = {body}"
        yield from (line,) if len(line) <= WIDTH else (line.removesuffix(f" {body}"), f"    {body}")


def setters_of(stage: str) -> str:
    """Return the file with the setters of one stage."""
    cls, spark = getattr(sparkdl, stage), STAGES[stage]
    mixins = [base for base in cls.__bases__ if base is NetworkModel or base.__module__.startswith("sparkdl.params")]
    besides = f"; Spark's {spark.extends} has those of {', '.join(spark.has_setters)}" if spark.has_setters else ""
    lines = [*doc_lines(f"The setters of [[{stage}]]{besides}", "")]
    # The order in which Scala mixes in is that of the bases, from the last one.
    names = [scala_name(base) for base in reversed(mixins)]
    lines += [*extends(names, f"trait {stage}Setters", f" {{ self: {stage} =>"), ""]
    for name, setting in sorted(all_of(cls).items()):
        if name not in spark.has_setters:
            lines += [*setter_lines(cls, name, setting), ""]
    return file_of([*lines[:-1], "}"], "the declarations in sparkdl/params", (f"import sparkdl.{stage}",))


def expected() -> str:
    """Return what a test compares with the stages in Scala: name, class, default and meaning of each Param."""
    listed = {
        stage: [
            {
                "name": name,
                "type": "Secret" if setting.secret else param_type(cls, name, setting).split("[")[0],
                "default": setting.default,
                "doc": None if sparks(cls, name) and name not in OVERRIDDEN else setting.doc,
            }
            for name, setting in sorted(all_of(cls).items())
        ]
        for stage, cls in ((stage, getattr(sparkdl, stage)) for stage in STAGES)
    }
    return json.dumps(listed, indent=1, ensure_ascii=False) + "\n"


def made(files: tuple[str, ...]) -> dict[Path, str]:
    """Return every file that is made for Scala, with its text; `files` are those of declarations."""
    found = {}
    for file in files:
        module = import_module(f"sparkdl.params.{file}")
        classes = [c for c in vars(module).values() if inspect.isclass(c) and c.__module__ == module.__name__]
        if file == "stages":
            classes.append(NetworkModel)
        lines = [line for cls in classes for line in ("", *trait_lines(cls))]
        found[MAIN / "params" / f"{upper(file)}.scala"] = file_of(
            lines, f"the declarations in sparkdl/params/{file}.py"
        )
    for stage in STAGES:
        if (MAIN / f"{stage}.scala").exists():
            found[MAIN / "params" / f"{stage}Setters.scala"] = setters_of(stage)
    return {**found, EXPECTED: expected()}
