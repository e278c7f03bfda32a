"""Many batches through a plan: order, rows without values, images in threads, and what is under way at once."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from sparkdl.errors import DataError
from sparkdl.schema import ARRAY, IMAGE, INPUT, Field
from sparkdl.scoring import score_plan, scorer
from sparkdl.scoring.outputs import GenericHead, column_for
from sparkdl.scoring.score_plan import ScoringPlan
from sparkdl.scoring.scorer import Scorer, ScorerSettings
from sparkdl.scoring.transfer import Fetch, Transfer

NUMBERS = Field("x", INPUT, ARRAY, ("x",), "float32", (2,))
IMAGES = Field("pic", INPUT, IMAGE, ("pic",), "float32", (3, 6, 8))
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")),
]


class Later(Transfer):
    """A device that computes only when its results are waited for, two pieces behind."""

    ahead = 2
    most = 0

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self.under_way = 0

    def fetch(self, outputs: Sequence[Tensor]) -> Fetch:
        self.under_way += 1
        Later.most = max(Later.most, self.under_way)

        def wait() -> list[Tensor]:
            self.under_way -= 1
            return [tensor.detach().clone() for tensor in outputs]

        return wait


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> type[Later]:
    """Have Scorers believe that they compute on a device of its own."""
    monkeypatch.setattr(scorer, "transfer_to", Later)
    monkeypatch.setattr(Scorer, "overlaps", True)
    monkeypatch.setattr(Scorer, "release", lambda _: None)
    monkeypatch.setattr(Later, "most", 0)
    return Later


class Little(nn.Module):
    """Adds up the numbers of a row; of so many rows and no more."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.inner = most, nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.inner(x).sum(1)


def plan_of(field: Field, handle_invalid: str = "keep", layers: tuple[str, ...] = (), batch: int = 0) -> ScoringPlan:
    inner = tuple(column_for(layer, field.shape) for layer in layers)
    return ScoringPlan(
        (field,), GenericHead(("y",), ((),)), inner, ScorerSettings(batch_size=batch, layers=layers), handle_invalid
    )


def scored(
    plan: ScoringPlan, network: nn.Module, batches: Sequence[pa.Array], threads: int = 2
) -> list[list[pa.Array]]:
    inputs = (plan.repaired([[batch]]) for batch in batches)
    return list(plan.stream(Scorer(network, plan.settings), inputs, threads))


rows = st.lists(st.none() | st.lists(st.integers(-50, 50).map(float), min_size=2, max_size=2), max_size=9)


@pytest.mark.parametrize("behind", [False, True], ids=["at once", "later"])
@settings(deadline=None, max_examples=30)
@given(st.lists(rows, max_size=5), st.integers(1, 9), st.integers(1, 9))
def test_each_row_has_its_own_result_whatever_is_under_way(
    behind: bool, batches: list[list[list[float] | None]], batch: int, most: int
) -> None:
    plan = plan_of(NUMBERS, layers=("inner",), batch=batch)
    with pytest.MonkeyPatch.context() as patch:
        if behind:
            patch.setattr(scorer, "transfer_to", Later)
            patch.setattr(Scorer, "overlaps", True)
            patch.setattr(Later, "most", 0)
        got = scored(plan, Little(most), [pa.array(each, pa.list_(pa.float32())) for each in batches])
        assert Later.most <= Later.ahead + 1
    assert [columns[0].to_pylist() for columns in got] == [
        [None if row is None else sum(row) for row in each] for each in batches
    ]
    assert [columns[1].to_pylist() for columns in got] == batches


@pytest.mark.parametrize(("behind", "ahead"), [(False, 0), (True, 3)], ids=["at once", "later"])
def test_few_batches_are_taken_before_they_are_needed(behind: bool, ahead: int, request: pytest.FixtureRequest) -> None:
    if behind:
        request.getfixturevalue("later")
    taken = []

    def batches() -> Iterator[list[list[pa.Array]]]:
        for number in range(9):
            taken.append(number)
            yield [[pa.array([[1.0, float(number)]], pa.list_(pa.float32()))]]

    plan = plan_of(NUMBERS)
    for done, columns in enumerate(plan.stream(Scorer(Little(9), plan.settings), batches(), 2)):
        assert columns[0].to_pylist() == [1.0 + done]
        assert len(taken) <= min(9, done + 1 + ahead)


def encoded(height: int, width: int, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG" if seed % 2 else "JPEG")
    return stream.getvalue()


class Means(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        assert x.dtype == torch.float32
        return x.mean((1, 2, 3))


def decoders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("sparkdl-decode")]


@pytest.mark.parametrize("behind", [False, True], ids=["at once", "later"])
def test_images_decoded_by_threads_are_those_of_their_rows(
    behind: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if behind:
        request.getfixturevalue("later")
    # Parts of 40 images.
    monkeypatch.setattr(score_plan, "_PART_BYTES", 3 * 6 * 8 * 40)
    batches = [[encoded(6, 8, seed) for seed in range(start, start + 90)] for start in (0, 90)]
    batches[0][5] = None  # type: ignore[call-overload]
    arrays = [pa.array(batch, pa.binary()) for batch in batches] + [pa.array([None], pa.binary())]
    plan = plan_of(IMAGES, batch=16)
    expected = [columns[0].to_pylist() for columns in scored(plan, Means(), arrays, 1)]
    assert [columns[0].to_pylist() for columns in scored(plan, Means(), arrays, 4)] == expected
    assert expected[0][5] is None
    assert expected[2] == [None]
    pixels = np.asarray(Image.open(io.BytesIO(batches[1][7])))
    assert expected[1][7] == pytest.approx(pixels.mean() / 255, abs=1e-5)
    assert not decoders()


@pytest.mark.parametrize("behind", [False, True], ids=["at once", "later"])
def test_threads_end_with_the_task_and_their_errors_are_the_tasks(behind: bool, request: pytest.FixtureRequest) -> None:
    if behind:
        request.getfixturevalue("later")
    plan = plan_of(IMAGES)
    good = [encoded(6, 8, seed) for seed in range(50)]
    inputs = ([[pa.array(good, pa.binary())]] for _ in range(9))
    left = plan.stream(Scorer(Means(), plan.settings), inputs, 3)
    assert len(next(left)[0]) == 50
    assert decoders()
    left.close()
    assert not decoders()
    for batch, message in (
        ([*good, b"no image"], r"'pic' has 1 of 51 rows that are no JPEG, PNG or Spark image"),
        ([*good, encoded(5, 8, 1)], r"'pic' has images of 5x8 \(height x width\), 6x8 is needed: resize them"),
    ):
        with pytest.raises(DataError, match=message):
            scored(plan, Means(), [pa.array(good, pa.binary()), pa.array(batch, pa.binary())], 3)
        assert not decoders()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_device_scores_as_plain_torch_does(device: str, precision: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8 * 48, 1)
    ).eval()
    data = [[encoded(6, 8, seed) for seed in range(start, start + 70)] for start in range(0, 350, 70)]
    pixels = [np.stack([np.asarray(Image.open(io.BytesIO(value))) for value in batch]) for batch in data]
    with torch.no_grad():
        expected = [network(torch.from_numpy(each).permute(0, 3, 1, 2) / 255)[:, 0] for each in pixels]
    for batch in (0, 16):
        made = ScorerSettings(batch, device, precision, ("0",))
        inner = (column_for("inner", (8, 6, 8)),)
        plan = ScoringPlan((IMAGES,), GenericHead(("y",), ((1,),)), inner, made)
        got = scored(plan, network, [pa.array(each, pa.binary()) for each in data], 2)
        tolerance = 1e-4 if precision == "float32" else 3e-2
        for columns, each in zip(got, expected, strict=True):
            torch.testing.assert_close(
                torch.tensor(columns[0].to_pylist()), each, rtol=tolerance, atol=tolerance, check_dtype=False
            )
            assert len(columns[1]) == len(each)
    network.cpu()
