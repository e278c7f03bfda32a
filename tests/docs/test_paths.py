"""The files and folders that documents for contributors name are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "CONTRIBUTING.md", ROOT / "docs/architecture.md", *sorted((ROOT / "docs/adr").glob("*.md"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_paths_exist(path: Path) -> None:
    named = re.findall(r"`([\w./-]+)`", path.read_text())
    paths = [name for name in named if "/" in name or name.endswith(".py")]
    missing = [name for name in paths if not is_there(name)]
    assert missing == []


def is_there(name: str) -> bool:
    """Whether it is a path of the repository or of the package, or the name of a module beside others of a line."""
    found = (ROOT / name).exists() or (ROOT / "sparkdl" / name).exists()
    return found or ("/" not in name and any((ROOT / "sparkdl").glob(f"**/{name}")))
