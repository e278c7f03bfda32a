from __future__ import annotations

import pytest

from sparkdl import TorchRegressor
from sparkdl.errors import DataError, NetworkError
from sparkdl.schema import ARRAY, INPUT, LABEL, SCALAR, DataSchema, Field
from sparkdl.train.config import TrainConfig

X = Field("x", INPUT, ARRAY, ("x",), "float32", (3,))
NUMBER = Field("y", LABEL, SCALAR, ("price",), "float32", (1,))


@pytest.mark.parametrize("outputs", [((),), ((1,),), ((1, 1),)])
def test_one_number_is_predicted(outputs: tuple[tuple[int, ...], ...]) -> None:
    config = TrainConfig(task="regression")

    assert TorchRegressor()._fitting(config, DataSchema((X, NUMBER)), outputs) == config
    assert TorchRegressor()._output_size(config, DataSchema((X, NUMBER))) == 1


def test_more_than_one_number_is_refused() -> None:
    pair = Field("y", LABEL, ARRAY, ("prices",), "float32", (2,))
    with pytest.raises(DataError, match="column 'prices' holds 2 numbers a row.*use TorchEstimator"):
        TorchRegressor()._fitting(TrainConfig(), DataSchema((X, pair)), ((2,),))
    with pytest.raises(NetworkError, match=r"the network returns \(3,\) for a row.*one output"):
        TorchRegressor()._fitting(TrainConfig(), DataSchema((X, NUMBER)), ((3,),))
    with pytest.raises(NetworkError, match=r"\(1,\) and \(1,\)"):
        TorchRegressor()._fitting(TrainConfig(), DataSchema((X, NUMBER)), ((1,), (1,)))


def test_the_task_has_its_loss() -> None:
    assert TorchRegressor()._config().losses == ("mse",)
    assert TorchRegressor()._config().metrics == ()
    assert TorchRegressor(loss="huber", metrics=["mean_absolute_error"])._config().losses == ("huber",)
