"""The messages that docs/troubleshooting.md explains are those of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
QUOTED = re.findall(r"^\| `(.+?)` \|", (ROOT / "docs/troubleshooting.md").read_text(), re.MULTILINE)
VALUE = "\0"


@cache
def sentences() -> str:
    """Every text of the library, one a line, with a mark where a value stands."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / "sparkdl").rglob("*.py")]
    return "\n".join(text for tree in trees for text in texts(tree))


def texts(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value.replace("\n", " ")
        elif isinstance(node, ast.JoinedStr):
            parts = [str(part.value) if isinstance(part, ast.Constant) else VALUE for part in node.values]
            yield "".join(parts).replace("\n", " ")


def pattern(message: str) -> str:
    """Names and numbers that stand for a value of the sentence may be written out."""
    between = [re.escape(part.strip()) for part in message.split("...") if part.strip()]
    return "[^\n]*".join(between).replace("numProcs", f"(?:numProcs|{VALUE})")


def test_the_page_quotes_messages() -> None:
    assert len(QUOTED) > 40


@pytest.mark.parametrize("message", QUOTED)
def test_the_message_is_one_of_the_code(message: str) -> None:
    assert re.search(pattern(message), sentences()), f"{message!r} is said nowhere"
