"""Networks with unusual tensors and layers all the way: fit on two ranks, transform, save, load, transform."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from pyspark.sql import SparkSession
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

from sparkdl import TorchRegressionModel, TorchRegressor


class Held(nn.Module):
    """Has buffers that no transport knows of itself, and a state that is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.tensor([True, True, False, True]))
        self.register_buffer("scale", torch.ones(1, dtype=torch.bfloat16).expand(4))
        self.register_buffer("turn", torch.tensor([1j]).conj())
        self.register_buffer("near", torch.eye(4).to_sparse())
        self.register_buffer("count", torch.zeros(1, dtype=torch.int16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count += 1 if self.training else 0
        return torch.sparse.mm(self.near, (x * self.mask * self.scale.float()).T).T

    def get_extra_state(self) -> dict[str, str]:
        return {"made": "here"}

    def set_extra_state(self, state: dict[str, str]) -> None:
        assert state == {"made": "here"}


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated")
@pytest.mark.parametrize("backend", ["horovod", "torch"])
def test_every_tensor_and_computed_weight_is_trained_and_saved(
    spark: SparkSession, tmp_path: Path, backend: str
) -> None:
    rows = [([float(i % 5), 1.0, 7.0, float(i % 3)], float(i % 5)) for i in range(64)]
    frame = spark.createDataFrame(rows, "features array<float>, label double")
    torch.manual_seed(1)
    module = nn.Sequential(
        Held(),
        parametrizations.weight_norm(nn.Linear(4, 8)),
        parametrizations.orthogonal(nn.Linear(8, 8)),
        parametrizations.spectral_norm(nn.Linear(8, 8)),
        spectral_norm(nn.Linear(8, 8)),
        weight_norm(nn.Linear(8, 1)),
    )
    fitter = TorchRegressor(module=module, numProcs=2, backend=backend, epochs=8, batchSize=16, learningRate=0.02)
    model = fitter.setMlflow("false").setVerbose(0).fit(frame)
    assert model.history[-1]["loss"] < 0.5 * model.history[0]["loss"]
    network: Any = model.network
    assert int(network[0].count) == 32
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "the network is saved|.*as a pickle")
        model.save(str(tmp_path / "model"))
    loaded = TorchRegressionModel.load(str(tmp_path / "model"))
    scored = [each.transform(frame).select("prediction").collect() for each in (model, loaded)]
    assert scored[0] == scored[1]
    with torch.no_grad():
        expected = network.eval()(torch.tensor([row[0] for row in rows]))[:, 0]
    torch.testing.assert_close(torch.tensor([row[0] for row in scored[0]]), expected, rtol=1e-5, atol=1e-5)
