"""Faults of ranks and of the checkpoints' folder, injected for real: what is seen, and that no row or bit is lost."""

from __future__ import annotations

import logging
import re
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from sparkdl.errors import ClusterError, RankError
from sparkdl.train.checkpoint.folder import CheckpointFolder
from tests.integration.faults import (
    EPOCHS,
    STEPS,
    Away,
    Faults,
    Trace,
    assert_gone,
    assert_same,
    left_in,
    regressor,
    rows_of,
    wait_for,
)

RESTARTED = re.compile(r"restart (\d) of \d with 2 ranks: (.*)")


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    return rows_of(spark).cache()


@pytest.fixture(scope="module")
def undisturbed(rows: DataFrame) -> Any:
    return regressor().fit(rows)


@pytest.fixture(scope="module", autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A temporary folder of the driver's own: what it leaves there can be told from what others do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
        yield


def assert_nothing_left(folder: Path, ranks: int) -> None:
    assert_gone(folder, ranks)
    assert left_in(Path(tempfile.gettempdir())) == []


def steps_in(folder: Path) -> list[int]:
    [job] = [path for path in folder.iterdir() if path.name != "rows"]
    return CheckpointFolder(str(job)).steps()


@pytest.mark.slow
def test_lost_ranks_cost_no_row_and_no_bit(
    rows: DataFrame, undisturbed: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = [
        (3, 1, "leaves"),
        (6, 1, "killed_in_all_reduce"),
        (8, 0, "sigkill@open:state.safetensors"),
        (11, 0, "sigkill@os.rename:checkpoint.json"),
        (15, 1, "stops"),
    ]
    caplog.set_level(logging.INFO, "sparkdl.cluster.driver.launch")
    model = regressor(
        callbacks=[Trace(str(tmp_path)), Faults(str(tmp_path), plan)],
        checkpointUrl=str(tmp_path / "checkpoints"),
        checkpointSteps=1,
        maxRestarts=5,
        heartbeatTimeout=8.0,
    ).fit(rows)
    assert_same(model, undisturbed)
    said = [match[2] for message in caplog.messages if (match := RESTARTED.fullmatch(message))]
    expected = [
        r"rank 1 on host \S+ ended with exit code 3 before its function returned",
        r"rank 1 on host \S+ was ended by SIGKILL \(often the out-of-memory killer\)",
        r"rank 0 on host \S+ was ended by SIGKILL .*",
        r"rank 0 on host \S+ was ended by SIGKILL .*",
        r"rank 1 on host \S+ gave no heartbeat for 8 s",
    ]
    assert len(said) == len(expected), said
    for sentence, pattern in zip(said, expected, strict=True):
        assert re.fullmatch(pattern, sentence), said
    assert_nothing_left(tmp_path, 12)


def test_a_rank_that_raises_ends_the_fit(rows: DataFrame, tmp_path: Path) -> None:
    with pytest.raises(RankError, match=r"rank 1 on host \S+ failed: ArithmeticError: mine"):
        regressor(callbacks=[Trace(str(tmp_path)), Faults(str(tmp_path), [(3, 1, "raises")])], maxRestarts=2).fit(rows)
    assert_nothing_left(tmp_path, 2)


def test_a_cancelled_job_ends_the_fit(spark: SparkSession, rows: DataFrame, tmp_path: Path) -> None:
    def cancel() -> None:
        assert wait_for((tmp_path / "here").exists)
        spark.sparkContext.cancelAllJobs()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(ClusterError, match="the barrier job of 2 ranks was cancelled"):
        regressor(callbacks=[Trace(str(tmp_path)), Faults(str(tmp_path), [(3, 1, "waits")])], maxRestarts=2).fit(rows)
    thread.join()
    assert_nothing_left(tmp_path, 2)


@pytest.mark.parametrize("how", ["away", "full"])
def test_a_folder_that_cannot_be_written_for_a_while(
    rows: DataFrame, undisturbed: Any, tmp_path: Path, how: str, capfd: pytest.CaptureFixture[str]
) -> None:
    url = tmp_path / "checkpoints"
    if how == "away":
        fault: Any = Away(str(url), 3, EPOCHS)
    else:
        fault = Faults(str(tmp_path), [(3, 0, "fills_the_disk"), (EPOCHS * STEPS, 0, "frees_the_disk")])
    model = regressor(
        callbacks=[Trace(str(tmp_path)), fault],
        checkpointUrl=str(url),
        checkpointSteps=1,
        verbose=2,
        cacheUrl=str(tmp_path / "rows"),
    ).fit(rows)
    assert_same(model, undisturbed)
    said = [line for line in capfd.readouterr().err.splitlines() if "a checkpoint could not be written" in line]
    assert len(said) == 1, said
    assert "training goes on, and later ones are tried" in said[0]
    assert ("Not a directory" if how == "away" else "File too large") in said[0]
    # The last one is there, and nothing of those that failed.
    assert max(steps_in(url)) == EPOCHS * STEPS
    assert not list(url.rglob("*.part"))
    assert_nothing_left(tmp_path, 2)
