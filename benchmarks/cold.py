"""How long the first transform of an application takes, with Spark's own daemon and with sparkdl's.

    .venv/bin/python benchmarks/cold.py [--quick]

A model of one epoch is saved once. Then applications take turns that load it, score 100,000 rows of 50 floats twice and
end; every other one has Spark call a Python function that hands the rows on as they are before that. The last line is
JSON: `seconds`, medians by daemon of that function (`identity`), of the first transform without it (`first`) and behind
it (`first_later`) and of the second one, and `ratio` (sparkdl's daemon over Spark's own, less is better).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from pyspark.sql import DataFrame
from transform import numbers, session, small

from sparkdl import TorchModel

DAEMONS = {"spark": "pyspark.daemon", "sparkdl": "sparkdl.daemon"}


def train(folder: Path) -> None:
    """Write rows and a model that scores them."""
    spark = session({})
    small(numbers(spark, 100_000, folder)["array"]).save(str(folder / "model"))
    spark.stop()


def score(folder: Path, daemon: str, later: bool) -> dict[str, float]:
    """Be one application; return the seconds of what it does."""
    spark = session({"spark.python.daemon.module": daemon})
    rows = spark.read.parquet(str(folder / "array"))
    seconds = {}
    if later:
        seconds["identity"] = timed(lambda: rows.mapInArrow(lambda batches: batches, rows.schema))
    model = TorchModel.load(str(folder / "model"))
    seconds["first_later" if later else "first"] = timed(lambda: model.transform(rows))
    seconds["second"] = timed(lambda: model.transform(rows))
    spark.stop()
    return seconds


def timed(query: Callable[[], DataFrame]) -> float:
    """Return the seconds that a query takes, its planning too."""
    began = time.perf_counter()
    query().write.format("noop").mode("overwrite").save()
    return time.perf_counter() - began


def application(*arguments: str) -> dict[str, float]:
    """Run a part of this program in a process of its own."""
    command = [sys.executable, __file__, *arguments]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=600).stdout
    found: dict[str, float] = json.loads(out.splitlines()[-1])
    return found


def main() -> None:
    """Measure, print a table, print JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="one round, to see that it runs")
    parser.add_argument("--train", metavar="FOLDER", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--score", metavar=("FOLDER", "DAEMON"), nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--later", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.train:
        train(args.train)
        print("{}")
        return
    if args.score:
        print(json.dumps(score(Path(args.score[0]), args.score[1], args.later)))
        return
    with tempfile.TemporaryDirectory() as folder:
        application("--train", folder)
        runs: dict[str, list[float]] = defaultdict(list)
        for _ in range(1 if args.quick else 3):
            for name, module in DAEMONS.items():
                for more in ((), ("--later",)):
                    for what, taken in application("--score", folder, module, *more).items():
                        runs[f"{what}_{name}"].append(taken)
    for name, found in sorted(runs.items()):
        print(f"{f'{name}, s':40} {[round(figure, 2) for figure in found]}")
    seconds = {name: round(statistics.median(found), 3) for name, found in sorted(runs.items())}
    ratio = {name: round(seconds[f"{name}_sparkdl"] / seconds[f"{name}_spark"], 3) for name in ("first", "first_later")}
    print(json.dumps({"name": "cold", "ratio": ratio, "seconds": seconds}))


if __name__ == "__main__":
    main()
