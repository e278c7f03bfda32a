"""How long it takes to plan over Parquet that exists: 10,000 row groups, their footers read by Spark tasks.

Usage: .venv/bin/python benchmarks/footers.py [--quick]

Twice 10,000 row groups of 11 columns: as many files, and 100 files of 100. `tasks` is `open_parquet` in a session of 2
slots that has run a job before, `one thread` pyarrow alone in one thread, `petastorm` what its Reader does at the
start of every rank. The last line is JSON; the target is 5 seconds for `tasks`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from sparkdl.data import open_parquet
from sparkdl.data.readers.petastorm import compat

COLUMNS = 10
ROWS = 10
REPEATS = 3


def write(folder: Path, files: int, groups: int) -> None:
    folder.mkdir()
    random = np.random.default_rng(0)
    table = pa.table(
        {
            **{f"c{place}": random.standard_normal(ROWS * groups, dtype=np.float32) for place in range(COLUMNS)},
            "label": np.arange(ROWS * groups),
        }
    )
    for number in range(files):
        pq.write_table(table, folder / f"part-{number:05d}.parquet", row_group_size=ROWS)


def by_tasks(folder: Path) -> int:
    return sum(len(file.row_groups) for file in open_parquet(str(folder)).manifest.files)


def by_one_thread(folder: Path) -> int:
    found = 0
    for path in sorted(folder.iterdir()):
        footer = pq.read_metadata(path)
        found += len([footer.row_group(group).num_rows for group in range(footer.num_row_groups)])
    return found


def by_petastorm(folder: Path) -> int:
    compat.apply()
    from petastorm.reader import Reader
    from petastorm.workers_pool.dummy_pool import DummyPool

    class Looking(Reader):
        found = 0

        def _filter_row_groups(self, dataset, row_groups, *rest):
            self.found = len(row_groups)
            return super()._filter_row_groups(dataset, row_groups, *rest)

    return Looking(None, str(folder), reader_pool=DummyPool()).found


def measured(read: Callable[[Path], int], folder: Path, expected: int) -> float:
    started = time.perf_counter()
    found = read(folder)
    seconds = time.perf_counter() - started
    if found != expected:
        sys.exit(f"{read.__name__} found {found} of {expected} row groups")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="500 row groups, to see that it runs")
    row_groups = 500 if parser.parse_args().quick else 10_000
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.memory", "1g")
        .getOrCreate()
    )
    readers = {"tasks": by_tasks, "one thread": by_one_thread, "petastorm": by_petastorm}
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        layouts = {"many files": (row_groups, 1), "many row groups": (100, row_groups // 100)}
        for layout, (files, groups) in layouts.items():
            write(Path(scratch, layout), files, groups)
        spark.range(2).mapInArrow(lambda batches: batches, "id long").collect()
        times: dict[str, list[float]] = {}
        for _ in range(REPEATS):
            for layout in layouts:
                for name, read in readers.items():
                    took = measured(read, Path(scratch, layout), row_groups)
                    times.setdefault(f"{name}, {layout}", []).append(took)
    for name, each in times.items():
        seconds[name] = statistics.median(each)
        print(f"{name:<28} {seconds[name]:7.2f} s for {row_groups:,} row groups")
    ratio = {layout: seconds[f"petastorm, {layout}"] / seconds[f"tasks, {layout}"] for layout in layouts}
    print(json.dumps({"name": "footers", "ratio": ratio, "seconds": seconds}))
    spark.stop()


if __name__ == "__main__":
    main()
