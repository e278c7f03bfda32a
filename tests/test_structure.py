"""Rules of the tree that no linter knows: what may be compared as a string where, and how long a file may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparkdl.cluster.messages import Message
from sparkdl.comm.registry import BACKENDS

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


def test_no_file_is_longer_than_its_one_job_needs() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}
