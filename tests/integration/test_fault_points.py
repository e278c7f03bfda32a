"""Each file, message and collective call of a rank fails once: the fit is the undisturbed one, or ends with one error.

All points take many minutes (``make test-release``); ``make test-slow`` takes a sample of them.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from sparkdl.errors import SparkDLError
from tests.integration.fault_points import Point, Points, points_in
from tests.integration.faults import Trace, assert_gone, assert_same, regressor, rows_of

pytestmark = pytest.mark.timeout(7200)

SAMPLE, ALL = 10, None


def chosen(points: list[Point], wanted: int | None) -> list[Point]:
    """Points over the whole range, and at each in turn one of the two ways to fail; None: each in both ways."""
    if wanted is None:
        return [Point(p.rank, p.event, p.number, how) for p in points for how in ("raise", "kill")]
    count = min(wanted, len(points))
    spread = [points[index * len(points) // count] for index in range(count)]
    return [Point(p.rank, p.event, p.number, ("raise", "kill")[index % 2]) for index, p in enumerate(spread)]


@pytest.mark.parametrize(
    "wanted",
    [pytest.param(SAMPLE, marks=pytest.mark.slow, id="sample"), pytest.param(ALL, marks=pytest.mark.release, id="all")],
)
def test_each_point_fails_once(spark: SparkSession, tmp_path: Path, wanted: int | None) -> None:
    rows = rows_of(spark).cache()

    def fit(folder: Path, point: Point | None, **settings: Any) -> Any:
        folder.mkdir()
        return regressor(
            epochs=2,
            callbacks=[Trace(str(folder)), Points(str(folder), point)],
            checkpointUrl=str(folder / "checkpoints"),
            checkpointSteps=3,
            backend="horovod",
            **settings,
        ).fit(rows)

    undisturbed = fit(tmp_path / "undisturbed", None)
    points = points_in(tmp_path / "undisturbed")
    taken = chosen(points, wanted)
    ends: Counter[str] = Counter()
    wrong: list[str] = []
    for number, point in enumerate(taken):
        folder = tmp_path / str(number)
        try:
            model = fit(folder, point, maxRestarts=1)
        except SparkDLError as error:
            end = f"ended: {str(error).splitlines()[0]}"
        except Exception as error:
            end = f"not ours: {type(error).__name__}: {error}"
        else:
            end = "same"
            try:
                assert_same(model, undisturbed)
            except AssertionError:
                end = "differs"
        failed = (folder / "failed").exists()
        ranks = len(list(folder.glob("rank-*.json")))
        print(f"{point}: {end}, {'met' if failed else 'not met'}, {ranks} ranks", flush=True)
        ends[end.partition(":")[0] if failed else "not met"] += 1
        # A rank that is killed comes again; only what raises may end the fit, and then says where.
        if end != "same" and not (point.how == "raise" and end.startswith("ended") and "injected" in end):
            wrong.append(f"{point}: {end}")
        assert_gone(folder, 0)
    print(f"covered {sum(ends.values()) - ends['not met']} of {len(points)} points ({len(taken)} fits): {dict(ends)}")
    assert not wrong, "\n".join(wrong)
