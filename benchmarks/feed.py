"""How fast rows come to a training loop, beside pyarrow's decoding alone, Petastorm's loaders and torch's.

    .venv/bin/python benchmarks/feed.py [--quick] [--only packed,columns,array,jpeg64,jpeg224] [--rounds 7]

All figures come from one run, interleaved, as medians: million rows per second of the clock, and CPU seconds of this
process per million rows. Every way runs with 2 threads where not said otherwise; files are warm in the page cache. The
process is set up as a rank's is: it keeps memory that it has freed, Python's collector leaves what was imported alone,
and torch computes with one thread.

The data are 2 million rows of 50 float32 and a label: as packed rows (what a fit makes of a DataFrame), as columns and
as one array column (Parquet that exists already, 32,768 rows a row group); and 20,000 and 2,000 JPEGs of 64x64 and
224x224 in a binary column. `limit` is pyarrow's decoding of all columns alone; of JPEGs, to bytes, by simplejpeg, which
ours uses, and by OpenCV, which is what most programs use. Ours gives bytes too, which become float32 on the device of
the network; `as numbers` has that done here.

The last line is JSON: `ratio` has ours, shuffled, through Petastorm over the 2-thread limit of the 50 columns
(`packed`), over the 2-thread limit of the same file (`columns`, `array`, `images`, the lower of the two sizes; also
`images by OpenCV` over OpenCV's decoding, and `images as numbers`), and `packed` over Petastorm's BatchedDataLoader,
shuffled (`petastorm`). `wait_share` is the share of the time for which training waits, when a step takes twice as long
as making a batch.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import queue
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from sparkdl.cluster.rank.main import keep_freed_memory
from sparkdl.data import open_parquet
from sparkdl.data.format.manifest import DataFile, Manifest
from sparkdl.data.format.row_layout import RowLayout
from sparkdl.data.loading.loader import Loader
from sparkdl.data.readers.petastorm import compat
from sparkdl.data.sampling.plan import Plan
from sparkdl.schema import INPUT, LABEL, SCALAR, STACKED, DataSchema, Field

WIDTH, FILES, GROUP_ROWS, BATCH, WINDOW = 50, 4, 32_768, 1024, 200_000
NAMES = [f"x{index}" for index in range(WIDTH)]
SCHEMA = DataSchema(
    (
        Field("features", INPUT, STACKED, tuple(NAMES), "float32", (WIDTH,)),
        Field("label", LABEL, SCALAR, ("label",), "float32", (1,)),
    )
)
MINE, OPENCV = "ours by petastorm, shuffled", "limit by OpenCV, 2 threads"
NUMBERS = f"{MINE}, as numbers"
SIZES = {"jpeg64": (64, 20_000, 256), "jpeg224": (224, 2_000, 64)}
"""Side, images, images in a batch."""


@dataclass
class Way:
    """One way to read some data once: `run` returns the rows that it has seen."""

    data: str
    name: str
    rows: int
    run: Callable[[], int]
    rounds: int
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def measure(self) -> None:
        gc.collect()
        cpu, began = time.process_time(), time.perf_counter()
        seen = self.run()
        self.seconds.append(time.perf_counter() - began)
        self.cpu.append(time.process_time() - cpu)
        if seen != self.rows:
            raise SystemExit(f"{self.name} over {self.data} has seen {seen} of {self.rows} rows")

    @property
    def speed(self) -> float:
        """Rows per second."""
        return self.rows / statistics.median(self.seconds)


def write_numbers(folder: Path, rows: int) -> None:
    """Write the same rows three times."""
    random = np.random.default_rng(0)
    layout = RowLayout.of(SCHEMA)
    files = []
    for name in ("packed", "columns", "array"):
        (folder / name).mkdir()
    for number, part in enumerate(np.array_split(np.arange(rows), FILES)):
        features = random.standard_normal((len(part), WIDTH), dtype=np.float32)
        label = (part % 10).astype(np.float32)
        file = f"part-{number}.parquet"
        columns = pa.table({**{name: features[:, place] for place, name in enumerate(NAMES)}, "label": label})
        pq.write_table(columns, folder / "columns" / file, row_group_size=GROUP_ROWS)
        offsets = pa.array(np.arange(len(part) + 1, dtype=np.int32) * np.int32(WIDTH))
        array = pa.table({"features": pa.ListArray.from_arrays(offsets, features.reshape(-1)), "label": label})
        pq.write_table(array, folder / "array" / file, row_group_size=GROUP_ROWS)
        files.append(write_packed(folder / "packed" / file, layout, number, features, label))
    write_manifest(folder / "packed", files)


def write_packed(path: Path, layout: RowLayout, number: int, features: np.ndarray, label: np.ndarray) -> DataFile:
    """Write packed rows as the tasks of a fit do."""
    groups = []
    with layout.writer(path) as writer:
        for start in range(0, len(features), layout.group_rows):
            part = slice(start, start + layout.group_rows)
            packed = layout.pack({"features": features[part], "label": label[part, None]})
            writer.write_table(layout.to_table([packed]))
            groups.append(len(packed))
    return DataFile(path.name, number, 0, tuple(groups), path.stat().st_size)


def write_manifest(folder: Path, files: list[DataFile]) -> None:
    manifest = Manifest(str(folder), SCHEMA, tuple(files))
    (folder / "_manifest.json").write_text(json.dumps(manifest.to_json()))


def write_images(folder: Path, side: int, count: int) -> None:
    """Write JPEGs that are neither noise nor flat: random colours in 8 fields a side, blurred by enlarging."""
    folder.mkdir()
    random = np.random.default_rng(side)
    images = []
    for _ in range(count):
        small = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        sink = io.BytesIO()
        small.resize((side, side), Image.Resampling.BICUBIC).save(sink, "JPEG", quality=90)
        images.append(sink.getvalue())
    table = pa.table({"image": pa.array(images, pa.binary()), "label": np.arange(count) % 10})
    pq.write_table(table, folder / "part-0.parquet", row_group_size=max(1, count // 40))


def manifest_of(folder: Path) -> Manifest:
    """Return the files as the loader wants them."""
    saved = folder / "_manifest.json"
    if saved.exists():
        return Manifest.from_json(json.loads(saved.read_text()))
    if "jpeg" in folder.name:
        return open_parquet(str(folder)).manifest
    columns = {"features": NAMES if folder.name == "columns" else "features", "label": "label"}
    return open_parquet(str(folder), columns=columns).manifest


def row_groups(folder: Path) -> list[tuple[Path, int]]:
    paths = sorted(folder.glob("*.parquet"))
    return [(path, group) for path in paths for group in range(pq.read_metadata(path).num_row_groups)]


def in_threads(threads: int, work: list[tuple[Path, int]], done: Callable[[pa.Table], object]) -> int:
    """Decode row groups in threads, hand each to `done` there, and return their rows."""
    waiting: queue.SimpleQueue[tuple[Path, int]] = queue.SimpleQueue()
    for item in work:
        waiting.put(item)
    seen: list[int] = []

    def read() -> None:
        opened: dict[Path, pq.ParquetFile] = {}
        while True:
            try:
                path, group = waiting.get_nowait()
            except queue.Empty:
                return
            if path not in opened:
                opened[path] = pq.ParquetFile(path)
            table = opened[path].read_row_group(group, use_threads=False)
            done(table)
            seen.append(table.num_rows)

    pool = [threading.Thread(target=read) for _ in range(threads)]
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()
    return sum(seen)


def decode_images(table: pa.Table) -> None:
    for value in table.column("image").to_pylist():
        simplejpeg.decode_jpeg(value)


def decode_images_by_opencv(table: pa.Table) -> None:
    for value in table.column("image").to_pylist():
        cv2.imdecode(np.frombuffer(value, np.uint8), cv2.IMREAD_COLOR)


def limits(folder: Path, rows: int, rounds: int) -> Iterator[Way]:
    """Yield pyarrow's decoding alone, with one thread and with two; images are decoded too."""
    work = row_groups(folder)
    ways: dict[str, Callable[[pa.Table], object]] = {"limit": len}
    if "jpeg" in folder.name:
        ways = {"limit": decode_images, "limit by OpenCV": decode_images_by_opencv}
    for way, done in ways.items():
        for threads in (1, 2):
            name = f"{way}, {threads} thread{'s' if threads > 1 else ''}"
            run = lambda threads=threads, done=done: in_threads(threads, work, done)  # noqa: E731
            yield Way(folder.name, name, rows, run, rounds)


class Ours:
    """Epochs of one loader, one after the other."""

    def __init__(
        self, folder: Path, reader: str, batch: int, shuffle: bool, shards: int, numbers: bool = False
    ) -> None:
        manifest = manifest_of(folder)
        plan = Plan.of(manifest, batch_size=batch, shuffle=shuffle, canonical_shards=shards, window=WINDOW)
        self._loader = Loader(manifest, plan, 0, 1, reader=reader, threads=2)
        self._numbers = numbers
        self._epoch = 0

    def __call__(self) -> int:
        self._epoch += 1
        batches = self._loader.epoch(self._epoch)
        if not self._numbers:
            return sum(batch.inputs[0].shape[0] for batch in batches)
        return sum(batch.for_network(batch.inputs)[0].shape[0] for batch in batches)

    def wait_share(self, step: float, steps: int) -> float:
        """Return the share of the time that steps of so many seconds wait for batches, after the first batch."""
        self._epoch += 1
        batches = iter(self._loader.epoch(self._epoch))
        next(batches)
        began, waited = time.perf_counter(), self._loader.wait_seconds
        for _ in zip(range(steps), batches, strict=False):
            time.sleep(step)
        share = (self._loader.wait_seconds - waited) / (time.perf_counter() - began)
        batches.close()
        return share

    def close(self) -> None:
        self._loader.close()


def ours(folder: Path, rows: int, batch: int, rounds: int) -> Iterator[Way]:
    for reader in ("petastorm", "arrow"):
        for order, shuffle in (("in order", False), ("shuffled", True)):
            name = f"ours by {reader}, {order}"
            yield Way(folder.name, name, rows, Ours(folder, reader, batch, shuffle, 8), rounds)
    one_window = Ours(folder, "petastorm", batch, True, 1)
    yield Way(folder.name, f"{MINE}, 1 window", rows, one_window, rounds)
    if folder.name in SIZES:
        numbers = Ours(folder, "petastorm", batch, True, 8, numbers=True)
        yield Way(folder.name, NUMBERS, rows, numbers, rounds)


def petastorm_loader(folder: Path, batched: bool, shuffle: bool) -> int:
    compat.apply()
    from petastorm import make_batch_reader
    from petastorm.pytorch import BatchedDataLoader
    from petastorm.pytorch import DataLoader as RowLoader

    kind = BatchedDataLoader if batched else RowLoader
    reader = make_batch_reader(f"file://{folder}", workers_count=2, num_epochs=1, shuffle_row_groups=shuffle)
    capacity = WINDOW if shuffle else 0
    with kind(reader, batch_size=BATCH, shuffling_queue_capacity=capacity) as loader:
        return sum(batch["label"].shape[0] for batch in loader)


def others(folder: Path, few: Path, rows: int, few_rows: int, rounds: int) -> Iterator[Way]:
    """Yield Petastorm's loaders over columns and array, torch's over tensors; the slow ones on `few_rows`."""
    for order, shuffle in (("in order", False), ("shuffled", True)):
        for data in ("columns", "array"):
            for name, where, count in (("BatchedDataLoader", folder, rows), ("DataLoader", few, few_rows)):
                run = lambda where=where / data, name=name, shuffle=shuffle: petastorm_loader(  # noqa: E731
                    where, name == "BatchedDataLoader", shuffle
                )
                yield Way(data, f"petastorm {name}, {order}", count, run, rounds)
        tensors = TensorDataset(torch.rand(few_rows, WIDTH), torch.rand(few_rows, 1))
        loader = DataLoader(tensors, batch_size=BATCH, shuffle=shuffle)
        run = lambda loader=loader: sum(features.shape[0] for features, _ in loader)  # noqa: E731
        yield Way("memory", f"torch DataLoader, {order}", few_rows, run, rounds)


def all_ways(scratch: Path, wanted: set[str], quick: bool, rounds: int) -> list[Way]:
    rows, few_rows = (60_000, 5_000) if quick else (2_000_000, 40_000)
    slow_rounds = max(1, rounds // 3)
    ways: list[Way] = []
    if wanted & {"packed", "columns", "array"}:
        (scratch / "few").mkdir()
        write_numbers(scratch, rows)
        write_numbers(scratch / "few", few_rows)
        # The limit of the columns is what packed rows are measured against.
        ways += limits(scratch / "columns", rows, rounds)
        ways += [way for d in ("packed", "array") if d in wanted for way in limits(scratch / d, rows, rounds)]
        for data in ("packed", "columns", "array"):
            if data in wanted:
                ways += ours(scratch / data, rows, BATCH, rounds)
        if "columns" in wanted:
            ways += others(scratch, scratch / "few", rows, few_rows, slow_rounds)
    for data, (side, count, batch) in SIZES.items():
        if data in wanted:
            count = count // 100 if quick else count
            write_images(scratch / data, side, count)
            ways += limits(scratch / data, count, min(rounds, 5))
            ways += ours(scratch / data, count, batch, min(rounds, 5))
    return ways


def report(ways: list[Way], waits: dict[str, float]) -> None:
    """Print a table, then JSON."""
    print(f"{'data':8} {'way':40} {'M rows/s':>9} {'from':>9} {'to':>9} {'CPU s/M':>9}")
    for way in ways:
        speeds = sorted(way.rows / seconds / 1e6 for seconds in way.seconds)
        cpu = statistics.median(way.cpu) / way.rows * 1e6
        fewer = f"  ({way.rows:,} rows)" if way.rows < max(w.rows for w in ways if w.data == way.data) else ""
        print(f"{way.data:8} {way.name:40} {way.speed / 1e6:9.4f} {speeds[0]:9.4f} {speeds[-1]:9.4f} {cpu:9.3f}{fewer}")
    speed = {(way.data, way.name): way.speed for way in ways}
    mine, limit = MINE, "limit, 2 threads"
    pairs = {
        "packed": (("packed", mine), ("columns", limit)),
        "columns": (("columns", mine), ("columns", limit)),
        "array": (("array", mine), ("array", limit)),
        "jpeg64": (("jpeg64", mine), ("jpeg64", limit)),
        "jpeg224": (("jpeg224", mine), ("jpeg224", limit)),
        "petastorm": (("packed", mine), ("columns", "petastorm BatchedDataLoader, shuffled")),
        "8 windows over 1": (("packed", mine), ("packed", f"{mine}, 1 window")),
    }
    ratio = {name: speed[a] / speed[b] for name, (a, b) in pairs.items() if a in speed and b in speed}
    images = [name for name in SIZES if name in ratio]
    if images:
        ratio["images"] = min(ratio[name] for name in images)
        ratio["images by OpenCV"] = min(speed[name, mine] / speed[name, OPENCV] for name in images)
        ratio["images as numbers"] = min(speed[name, NUMBERS] / speed[name, limit] for name in images)
    for name, value in ratio.items():
        print(f"ratio.{name:42} {value:9.3f}")
    for data, share in waits.items():
        print(f"{f'share of waiting for {data}, steps of twice its time':49} {share:9.4f}")
    seconds = {f"{way.data}, {way.name}": round(statistics.median(way.seconds), 4) for way in ways}
    shown = {name: round(value, 3) for name, value in ratio.items()}
    print(json.dumps({"name": "feed", "ratio": shown, "seconds": seconds, "wait_share": waits}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few rows, to see that it runs")
    parser.add_argument("--only", default="packed,columns,array,jpeg64,jpeg224", help="data, separated by commas")
    parser.add_argument("--rounds", type=int, default=7, help="how often each way is measured, the slow ones a third")
    arguments = parser.parse_args()
    keep_freed_memory()
    gc.freeze()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="sparkdl-benchmark-") as folder:
        ways = all_ways(Path(folder), set(arguments.only.split(",")), arguments.quick, arguments.rounds)
        for turn in range(max(way.rounds for way in ways) + 1):
            for way in ways:
                # The first round warms up.
                if turn <= way.rounds:
                    way.measure()
        waits = {}
        for way in ways:
            del way.seconds[0], way.cpu[0]
            if isinstance(way.run, Ours):
                if way.name == MINE:
                    # A step that takes twice as long as a batch, so that only waiting for no reason is left.
                    batch = BATCH if way.data not in SIZES else SIZES[way.data][2]
                    steps = min(200, way.rows // batch - 1)
                    waits[way.data] = round(way.run.wait_share(2 * batch / way.speed, steps), 4)
                way.run.close()
        report(ways, waits)


if __name__ == "__main__":
    main()
