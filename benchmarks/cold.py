"""How long the first transform of an application takes, with Spark's own daemon and with sparkdl's.

    .venv/bin/python benchmarks/cold.py [--quick]

A model of one epoch is saved once. Then applications take turns that load it, score 100,000 rows of 50 floats twice and
end. The last line is JSON: `seconds` (medians by daemon of the first and the second transform) and `ratio.first`
(sparkdl's daemon over Spark's own, less is better).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from transform import numbers, session, small

from sparkdl import TorchModel

DAEMONS = {"spark": "pyspark.daemon", "sparkdl": "sparkdl.daemon"}


def train(folder: Path) -> None:
    """Write rows and a model that scores them."""
    spark = session({})
    small(numbers(spark, 100_000, folder)["array"]).save(str(folder / "model"))
    spark.stop()


def score(folder: Path, daemon: str) -> list[float]:
    """Be one application; return the seconds of two transforms."""
    spark = session({"spark.python.daemon.module": daemon})
    rows = spark.read.parquet(str(folder / "array"))
    model = TorchModel.load(str(folder / "model"))
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        model.transform(rows).write.format("noop").mode("overwrite").save()
        seconds.append(time.perf_counter() - began)
    spark.stop()
    return seconds


def application(*arguments: str) -> list[float]:
    """Run a part of this program in a process of its own."""
    command = [sys.executable, __file__, *arguments]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=600).stdout
    found: list[float] = json.loads(out.splitlines()[-1])
    return found


def main() -> None:
    """Measure, print a table, print JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="one round, to see that it runs")
    parser.add_argument("--train", metavar="FOLDER", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--score", metavar=("FOLDER", "DAEMON"), nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.train:
        train(args.train)
        print("[]")
        return
    if args.score:
        print(json.dumps(score(Path(args.score[0]), args.score[1])))
        return
    with tempfile.TemporaryDirectory() as folder:
        application("--train", folder)
        runs: dict[str, list[list[float]]] = {name: [] for name in DAEMONS}
        for _ in range(1 if args.quick else 5):
            for name, module in DAEMONS.items():
                runs[name].append(application("--score", folder, module))
    seconds = {}
    for name, found in runs.items():
        for place, figures in zip(("first", "second"), zip(*found, strict=True), strict=True):
            print(f"{f'{place} transform, s, daemon of {name}':40} {[round(figure, 2) for figure in figures]}")
            seconds[f"{place}_{name}"] = round(statistics.median(figures), 3)
    ratio = {"first": round(seconds["first_sparkdl"] / seconds["first_spark"], 3)}
    print(json.dumps({"name": "cold", "ratio": ratio, "seconds": seconds}))


if __name__ == "__main__":
    main()
