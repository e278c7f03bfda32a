"""Networks as files for other programs: what they compute, and what is refused."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import nn

from sparkdl import TorchModel
from sparkdl.errors import NetworkError, PersistenceError, SettingError
from sparkdl.export import _batches
from sparkdl.network import check, resolve
from sparkdl.network.check import outputs_of
from sparkdl.schema import ARRAY, IMAGE, INPUT, MASK, SCALAR, VECTOR, DataSchema, Field


def schema_of(**inputs: tuple[str, tuple[int, ...]]) -> DataSchema:
    kinds = {0: SCALAR, 1: ARRAY, 3: IMAGE}
    return DataSchema(
        tuple(Field(n, INPUT, kinds[len(shape)], (n,), dtype, shape) for n, (dtype, shape) in inputs.items())
    )


def model_of(module: Any, schema: DataSchema, outputs: int | None = None, **params: Any) -> TorchModel:
    made = resolve(module, params, schema, outputs)
    return TorchModel._create(made.module, made.reference, schema, check(made.module, schema))


class Tables(nn.Module):
    """An index and numbers, two outputs; a layer that behaves otherwise in training."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(1, 3)
        self.layers = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Dropout(0.9))

    def forward(self, index: torch.Tensor, numbers: torch.Tensor) -> dict[str, torch.Tensor]:
        wide = torch.cat((self.table(index[:, 0]), numbers), 1)
        return {"wide": self.layers(wide), "sum": wide.sum(1)}


class Words(nn.Module):
    """Words of a padded sentence, and what of it is padding, as a transformer takes them."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(13, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, words: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        assert mask.dtype == torch.bool
        return self.head(self.table(words).masked_fill(~mask[:, :, None], 0.0).sum(1) / mask.sum(1, keepdim=True))


class Terms(nn.Module):
    """Takes vectors that stay sparse, or dense ones too."""

    def __init__(self, own: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 2))
        self.own = own

    def forward(self, terms: torch.Tensor) -> torch.Tensor:
        if self.own and not torch.jit.is_tracing():
            assert terms.layout is torch.sparse_coo
        return torch.sparse.mm(terms, self.weight)


class Odd(nn.Module):
    """Computes with integers as few networks do: an exporter that took a constant for them would be wrong."""

    def forward(self, number: torch.Tensor) -> torch.Tensor:
        return torch.where(number % 2 == 1, number * 0.5, -1.0)


class ByValue(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2 if float(x.sum()) > 8 else x


class ByRows(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * len(x)


class Noisy(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.rand_like(x)


WORDS = DataSchema(
    (
        Field("words", INPUT, ARRAY, ("words",), "int64", (7,)),
        Field("words_mask", INPUT, MASK, ("words",), "bool", (7,), (ARRAY,)),
    )
)
SPARSE = DataSchema((Field("terms", INPUT, VECTOR, ("terms",), "float32", (6,), entries=3, sparse=True),))
MODELS: dict[str, Callable[[], TorchModel]] = {
    "two inputs of one mlp": lambda: model_of("mlp", schema_of(a=("float32", (3,)), b=("float32", (2,))), 2),
    "images": lambda: model_of("cnn", schema_of(image=("float32", (3, 8, 8))), 4),
    "words with a mask": lambda: model_of(Words(), WORDS),
    "sparse vectors": lambda: model_of(Terms(), SPARSE),
    "integers": lambda: model_of(Odd(), schema_of(number=("int64", (1,)))),
    "an index, two outputs": lambda: model_of(Tables(), schema_of(index=("int64", (1,)), numbers=("float32", (2,)))),
}


def through_file(path: Path, form: str, batch: list[torch.Tensor], names: list[str]) -> list[torch.Tensor]:
    if form == "onnx":
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        assert [entry.name for entry in session.get_inputs()] == names
        given = {name: tensor.numpy() for name, tensor in zip(names, batch, strict=True)}
        return [torch.from_numpy(value) for value in session.run(None, given)]
    loaded: Any = torch.jit.load(str(path)) if form == "torchscript" else torch.export.load(str(path)).module()
    return list(outputs_of(loaded(*batch)))


@pytest.mark.parametrize("form", ["onnx", "torchscript", "pt2"])
@pytest.mark.parametrize("kind", list(MODELS))
def test_file_computes_what_the_model_does(kind: str, form: str, tmp_path: Path) -> None:
    model = MODELS[kind]()
    path = tmp_path / "new" / f"net.{form}"
    model.exportModel(path, form)
    assert [part.name for part in path.parent.iterdir()] == [path.name]
    fields = model._trained.schema.inputs  # type: ignore[union-attr]
    batch = [torch.zeros(13, *f.shape, dtype=getattr(torch, f.dtype)) + 0.5 * (f.dtype != "int64") for f in fields]
    batch = [tensor.to(getattr(torch, f.dtype)) for tensor, f in zip(batch, fields, strict=True)]
    with torch.no_grad():
        expected = outputs_of(model.network(*batch))
    got = through_file(path, form, batch, [f.name for f in fields])
    for one, other in zip(expected, got, strict=True):
        torch.testing.assert_close(one, other.reshape(one.shape), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "form", "words"),
    [
        (ByValue(), "torchscript", "the torchscript file is up to .* from the network's on 1 rows: its forward pass"),
        (ByRows(), "torchscript", "output 0 of the torchscript file is up to .* on 1 rows"),
        (Noisy(), "pt2", "output 0 of the pt2 file is up to .* or draws at random"),
        (ByValue(), "pt2", "ByValue cannot be exported as pt2: "),
        (ByValue(), "onnx", "ByValue cannot be exported as onnx: "),
    ],
)
def test_a_file_that_would_differ_is_not_left(network: nn.Module, form: str, words: str, tmp_path: Path) -> None:
    model = model_of(network, schema_of(x=("float32", (4,))))
    with pytest.raises(NetworkError, match=words):
        model.exportModel(tmp_path / "net", form)
    assert list(tmp_path.iterdir()) == []


def test_integers_are_compared_up_to_the_largest_that_the_network_takes(tmp_path: Path) -> None:
    class ByIndex(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(40, 2)

        def forward(self, index: torch.Tensor) -> torch.Tensor:
            seen = self.table(index[:, 0])
            return seen if int(index.sum()) > 40 else seen * 2

    model = model_of(ByIndex(), schema_of(index=("int64", (1,))))
    with pytest.raises(NetworkError, match="output 0 of the torchscript file is up to"):
        model.exportModel(tmp_path / "net", "torchscript")
    tables = [batch[0] for batch in _batches(model.network, model._trained.schema)]  # type: ignore[union-attr]
    assert all(int(table.min()) >= 0 and int(table.max()) in range(1, 40) for table in tables)


def test_a_network_of_sparse_tensors_alone(tmp_path: Path) -> None:
    model = model_of(Terms(own=True), SPARSE)
    with pytest.raises(NetworkError, match="takes sparse tensors and no dense ones, and onnx has none .*'torchscript'"):
        model.exportModel(tmp_path / "net", "onnx")
    model.exportModel(tmp_path / "net", "torchscript")
    loaded: Any = torch.jit.load(str(tmp_path / "net"))
    terms = torch.tensor([[0.0, 1, 0, 2, 0, 0], [0, 0, 0, 0, 0, 3]])
    torch.testing.assert_close(loaded(terms), model.network(terms.to_sparse()))


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(nn.Linear(2, 1), schema_of(x=("float32", (2,))))
    (tmp_path / "there").touch()
    with pytest.raises(PersistenceError, match="there exists already: remove it"):
        model.exportModel(tmp_path / "there", "pt2")
    with pytest.raises(SettingError, match="s3://bucket/net.onnx lies on another file system"):
        model.exportModel("s3://bucket/net.onnx")
    with pytest.raises(SettingError, match="invalid format='keras': expected 'onnx', 'torchscript' or 'pt2'"):
        model.exportModel(tmp_path / "net", "keras")
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else found(name))
    with pytest.raises(PersistenceError, match="needs onnxruntime: pip install onnxruntime"):
        model.exportModel(tmp_path / "net")
    assert [part.name for part in tmp_path.iterdir()] == ["there"]
