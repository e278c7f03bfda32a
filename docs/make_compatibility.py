"""Write the table of docs/compatibility.md from what ``make test-versions`` has found.

Run ``python docs/make_compatibility.py`` after it; ``--check`` only says whether the table is out of date.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / ".versions" / "results.json"
DOCUMENT = ROOT / "docs" / "compatibility.md"
BEGIN, END = "<!-- made by docs/make_compatibility.py -->", "<!-- end of what is made -->"
CONNECT = "connect"
SHOWN = ("pyarrow", "numpy", "pandas")


def main() -> int:
    """Write or check; return 1 where a check has found a difference."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="only say whether the table is out of date")
    check = parser.parse_args().check
    if not RESULTS.is_file():
        print("there are no results: run make test-versions first", file=sys.stderr)
        return 1
    text = DOCUMENT.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    made = f"{before}{BEGIN}\n\n{table(json.loads(RESULTS.read_text()))}\n{END}{after}"
    if made == text:
        return 0
    if check:
        print("out of date: docs/compatibility.md; run python docs/make_compatibility.py", file=sys.stderr)
        return 1
    DOCUMENT.write_text(made)
    print("written: docs/compatibility.md")
    return 0


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the table: an environment in each row, a part of the core in each column."""
    ran = {name: result for name, result in results.items() if "areas" in result}
    areas = list(dict.fromkeys(area for result in ran.values() for area in result["areas"]))
    head = ["pyspark", "Python", ", ".join(SHOWN), "session", *areas]
    lines = [head, ["---"] * len(head)]
    for name, result in sorted(ran.items(), key=lambda item: _order(item[0], item[1])):
        versions = result["versions"]
        lines.append(
            [
                versions["pyspark"],
                versions["python"],
                ", ".join(versions[package] for package in SHOWN),
                "Connect" if name == CONNECT else "classic",
                *(_cell(result["areas"].get(area)) for area in areas),
            ]
        )
    rows = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    missing = [f"{name}: {result['missing']}." for name, result in results.items() if "missing" in result]
    return rows + "".join(f"\n{line}\n" for line in missing)


def _order(name: str, result: dict[str, Any]) -> tuple[bool, list[int], str]:
    return name == CONNECT, [int(part) for part in result["versions"]["pyspark"].split(".")], name


def _cell(count: list[int] | None) -> str:
    if count is None or not sum(count):
        return ""
    passed, bad = count
    return str(passed) if not bad else f"**{passed} of {passed + bad}**"


if __name__ == "__main__":
    sys.exit(main())
