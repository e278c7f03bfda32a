"""Rules of the tree that no linter knows: what may be compared as a string where, and how long a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparkdl import schema
from sparkdl.cluster.messages import Message
from sparkdl.comm.registry import BACKENDS
from sparkdl.data.types import TYPES

IMPORT_EACH_FIRST = """
import importlib, sys

for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception as error:
        # Packages of others may be optional.
        if not isinstance(error, ModuleNotFoundError) or str(error.name).startswith("sparkdl"):
            print(f"{name}: {error}", flush=True)
    # The next one finds none of ours; those of others take seconds, and are what all of them share.
    for ours in [each for each in sys.modules if each.partition(".")[0] == "sparkdl"]:
        del sys.modules[ours]
"""

ROOT = Path(__file__).resolve().parents[1] / "sparkdl"
SOURCES = sorted(ROOT.rglob("*.py"))
LONGEST = 400
OTHERS = {("network/values.py", "torch"), ("persistence/torch_file.py", "torch")}
"""The same word for something else: there torch is a module."""


def compared(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and value of each string that code compares: ==, !=, in, not in, match."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Compare):
            for part in (node.left, *node.comparators):
                items = part.elts if isinstance(part, ast.Tuple | ast.List | ast.Set) else [part]
                for item in items:
                    if isinstance(item, ast.Constant) and isinstance(item.value, str):
                        yield node.lineno, item.value
        elif isinstance(node, ast.MatchValue) and isinstance(node.value, ast.Constant):
            yield node.lineno, str(node.value.value)


@pytest.mark.parametrize(
    ("words", "home"),
    [
        (set(BACKENDS), "comm"),
        ({kind.__name__ for kind in Message.__subclasses__()}, "cluster/messages.py"),
    ],
    ids=["backends", "messages"],
)
def test_a_name_is_compared_in_its_home_only(words: set[str], home: str) -> None:
    elsewhere = [
        f"{path.relative_to(ROOT)}:{line} compares {value!r}"
        for path in SOURCES
        if not path.is_relative_to(ROOT / home)
        for line, value in compared(path)
        if value in words and (str(path.relative_to(ROOT)), value) not in OTHERS
    ]
    assert not elsewhere


def kinds_compared(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and name of each kind of column, imported from the schema, that code compares."""
    tree = ast.parse(path.read_text())
    schemas = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module == "sparkdl.schema"]
    kinds = {alias.name for node in schemas for alias in node.names if getattr(schema, alias.name, None) in TYPES}
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            names = [n.id for part in (node.left, *node.comparators) for n in ast.walk(part) if isinstance(n, ast.Name)]
            yield from ((node.lineno, name) for name in names if name in kinds)


def test_a_kind_of_column_is_compared_in_its_home_only() -> None:
    home = ROOT / "data/types"
    others = [path for path in SOURCES if not path.is_relative_to(home) and path != ROOT / "schema.py"]
    assert [f"{path.relative_to(ROOT)}:{line}: {kind}" for path in others for line, kind in kinds_compared(path)] == []
    assert any(kinds_compared(path) for path in SOURCES if path.is_relative_to(home))


def test_each_module_can_be_the_first_to_be_imported() -> None:
    """A task's Python begins with whatever module the function comes from that it was sent."""
    paths = [path.relative_to(ROOT.parent).with_suffix("") for path in SOURCES]
    names = [".".join(path.parts).removesuffix(".__init__") for path in paths]
    command = [sys.executable, "-c", IMPORT_EACH_FIRST, *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=280)
    assert done.stdout.splitlines() == []


def test_no_file_is_longer_than_its_one_job_needs() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}
