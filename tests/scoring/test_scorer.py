"""Batches through a network in one process."""

from __future__ import annotations

import pickle
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from sparkdl.errors import NetworkError, SettingError
from sparkdl.scoring import model_cache
from sparkdl.scoring.model_cache import LIMIT, loaded
from sparkdl.scoring.scorer import Scorer, ScorerSettings


class Watched(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)
        self.sizes: list[int] = []

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.sizes.append(len(a))
        return self.norm(self.inner(a)), b.sum(1)


@pytest.mark.parametrize("rows", [1, 4, 5, 9])
def test_rows_at_once_change_nothing(rows: int) -> None:
    module = Watched()
    inputs = [torch.randn(rows, 3), torch.randint(0, 9, (rows, 2))]
    with torch.no_grad():
        expected = [*module.eval()(*inputs), module.inner(inputs[0])]
    module.train().sizes.clear()
    got = Scorer(module, ScorerSettings(batch_size=4, layers=("inner",)))(inputs)
    assert max(module.sizes) <= 4
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other)
        assert not one.requires_grad
    assert not module.training


def test_precision_of_cpu() -> None:
    out = Scorer(nn.Linear(8, 1), ScorerSettings(precision="bf16"))([torch.randn(2, 8)])[0]
    assert out.dtype == torch.bfloat16
    with pytest.raises(SettingError, match="precision='fp16' needs a GPU, and the device is the cpu"):
        Scorer(nn.Linear(8, 1), ScorerSettings(precision="fp16"))


def test_cache_is_bounded_and_loads_once() -> None:
    calls: list[str] = []

    def load(name: str) -> nn.Module:
        calls.append(name)
        return nn.Identity()

    names = [f"n{i}" for i in range(LIMIT)]
    first = [loaded(name, "cpu", lambda name=name: load(name)) for name in names]
    assert [loaded(name, "cpu", lambda: load("never")) for name in names] == first
    assert calls == names
    loaded("one more", "cpu", lambda: load("one more"))
    assert loaded("n1", "cpu", lambda: load("never")) is first[1]
    assert loaded("n0", "cpu", lambda: load("again")) is not first[0]
    assert calls == [*names, "one more", "again"]


def test_cache_holds_some_bytes_and_always_the_last_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_cache, "_LOADED", OrderedDict())
    monkeypatch.setattr(model_cache, "LIMIT_BYTES", 4 * 100)
    small = [loaded(f"small{i}", "cpu", lambda: nn.Linear(39, 1)) for i in range(2)]
    assert loaded("small0", "cpu", lambda: nn.Identity()) is small[0]
    loaded("small2", "cpu", lambda: nn.Linear(39, 1))
    assert [name for name, _ in model_cache._LOADED] == ["small0", "small2"]
    large = loaded("large", "cpu", lambda: nn.Linear(1000, 1))
    assert [name for name, _ in model_cache._LOADED] == ["large"]
    assert loaded("large", "cpu", lambda: nn.Identity()) is large


class Shifts(nn.Module):
    """Writes into its inputs, as code that was made for batches of its own may do."""

    def __init__(self, most: int = 1 << 30) -> None:
        super().__init__()
        self.most = most
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x -= 5
        images *= 2
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return x, self.conv(images)


@pytest.mark.parametrize("settings", [ScorerSettings(), ScorerSettings(batch_size=4)])
@pytest.mark.parametrize("most", [1 << 30, 3])
def test_a_network_that_writes_into_its_inputs(settings: ScorerSettings, most: int) -> None:
    network = Shifts(most).eval()
    rows, images = torch.arange(18.0).reshape(9, 2), torch.rand(9, 3, 4, 4)
    given = [rows.clone(), images.clone()]
    got, convolved = Scorer(network, settings)(given)
    torch.testing.assert_close(got, rows - 5)
    with torch.no_grad():
        torch.testing.assert_close(convolved, network.conv(images * 2), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(given, [rows, images], rtol=0, atol=0)
    same = Scorer(nn.Identity(), settings)([given[0]])[0]
    assert same.untyped_storage().data_ptr() != given[0].untyped_storage().data_ptr()


def test_an_inner_layers_output_is_that_of_the_layer() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 1)).eval()
    rows = torch.randn(6, 3)
    with torch.no_grad():
        linear = network[0](rows)
        expected = [network(rows), linear, linear.relu()]
    assert (linear < 0).any()
    torch.testing.assert_close(Scorer(network, ScorerSettings(layers=("0", "1")))([rows]), expected)


class Slow(nn.Module):
    """Leaves other threads time to begin while it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x * 2)
        time.sleep(0.002)
        return y + 1


def test_threads_get_the_outputs_of_their_own_rows() -> None:
    scorer = pickle.loads(pickle.dumps(Scorer(Slow(), ScorerSettings(layers=("inner",)))))

    def right(number: int) -> bool:
        rows = torch.full((3, 1), float(number))
        outputs, inner = scorer([rows])
        return torch.equal(outputs, rows * 2 + 1) and torch.equal(inner, rows * 2)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(right, range(60)))


class Small(nn.Module):
    """Takes so many rows at once and no more, as a device of little memory."""

    def __init__(self, most: int, error: str) -> None:
        super().__init__()
        self.most, self.error = most, error
        self.seen: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(x))
        if len(x) > self.most:
            raise torch.OutOfMemoryError(self.error) if "CUDA out" in self.error else RuntimeError(self.error)
        return x * 2


@pytest.mark.parametrize(
    "error",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "[enforce fail] DefaultCPUAllocator: can't allocate memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`, it allocates its workspace",
    ],
)
def test_out_of_memory_halves_the_rows_and_goes_on(error: str) -> None:
    network = Small(5, error)
    scorer = Scorer(network, ScorerSettings(batch_size=32))
    rows = torch.arange(50.0).reshape(50, 1)
    torch.testing.assert_close(scorer([rows])[0], rows * 2)
    assert network.seen[:4] == [32, 16, 8, 4]
    network.seen.clear()
    torch.testing.assert_close(scorer([rows])[0], rows * 2)
    assert set(network.seen) == {4, 2}, "what fits is remembered"
    with pytest.raises(RuntimeError, match="allocate"):
        Scorer(Small(0, error), ScorerSettings(batch_size=4))([rows])


def test_other_errors_of_a_network_are_not_tried_again() -> None:
    network = Small(3, "shapes do not fit")
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        Scorer(network, ScorerSettings(batch_size=8))([torch.ones(9, 1)])
    assert network.seen.count(8) == 1


class Cut(nn.Module):
    """Returns another number of rows for more than two of them."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.inner = nn.Identity()
        self.how = how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) <= 2:
            return x
        return {"fewer": x[1:], "more": torch.cat([x, x]), "sum": x.sum(), "inner": self.inner(x[1:])[:1].expand(4, 2)}[
            self.how
        ]


@pytest.mark.parametrize(
    ("how", "said"), [("fewer", "3 rows"), ("more", "8 rows"), ("sum", "a number"), ("inner", "3 rows")]
)
def test_a_network_must_return_a_row_for_each_row(how: str, said: str) -> None:
    scorer = Scorer(Cut(how), ScorerSettings(batch_size=8, layers=("inner",) if how == "inner" else ()))
    with pytest.raises(NetworkError, match=f"the network returns {said} for 4 rows: each output must have one row"):
        scorer([torch.ones(4, 2)])
