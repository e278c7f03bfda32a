"""mlp and cnn: sizes from the data, sentences where the data does not fit."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from sparkdl.errors import NetworkError
from sparkdl.nn import CNN, MLP, NETWORKS, cnn, mlp


def test_names_are_classes():
    assert NETWORKS == {"cnn": CNN, "mlp": MLP}
    assert (mlp, cnn) == (MLP, CNN)


@pytest.mark.parametrize(
    ("name", "shapes", "params", "rows"),
    [
        ("mlp", [(5,)], {"hidden": [8, 4], "dropout": 0.5, "activation": "gelu"}, [(5,)]),
        ("mlp", [(5,), (1,), (2, 3)], {"hidden": []}, [(5,), (1,), (2, 3)]),
        ("cnn", [(3, 9, 7)], {"channels": [4, 8, 8], "hidden": [16, 8], "dropout": 0.1}, [(3, 9, 7)]),
        ("cnn", [(64,)], {}, [(64,)]),
        ("cnn", [(6, 5)], {"hidden": []}, [(6, 5)]),
        ("cnn", [(60,)], {"shape": [3, 4, 5], "channels": [2, 2, 2, 2]}, [(60,)]),
    ],
)
def test_sizes_make_a_network_that_takes_the_rows(name, shapes, params, rows):
    kind = NETWORKS[name]
    sizes = kind.sizes(shapes, 3, params)
    arguments = json.loads(json.dumps({**sizes, **params}))
    network = kind(**arguments)
    assert network(*(torch.randn(4, *row) for row in rows)).shape == (4, 3)
    assert network(*(torch.ones(2, *row, dtype=torch.int64) for row in rows)).shape == (2, 3)
    assert network(*(torch.randn(0, *row) for row in rows)).shape == (0, 3)


def test_own_arguments_win():
    assert MLP.sizes([(5,)], 3, {"outputs": 7}) == {"inputs": 5, "outputs": 7}
    assert CNN.sizes([(2, 4, 4)], None, {"outputs": 2.0}) == {"shape": [2, 4, 4], "outputs": 2, "pooled": 8}


def test_mlp_is_the_sequence_it_says():
    network = MLP(inputs=3, outputs=2, hidden=[4], dropout=0.25, activation="tanh")
    kinds = [type(layer).__name__ for layer in network.layers]
    assert kinds == ["Linear", "Tanh", "Dropout", "Linear"]
    assert network.layers[2].p == 0.25


@pytest.mark.parametrize(
    ("size", "given", "dense"),
    [
        (32, {}, 32 * 8 * 8),
        (512, {}, 32 * 8 * 8),
        (512, {"pooled": 16}, 32 * 16 * 16),
        (64, {"pooled": None}, 32 * 16 * 16),
    ],
)
def test_large_images_are_averaged_before_the_dense_layers(size, given, dense):
    with torch.device("meta"):
        network = CNN(**{**CNN.sizes([(3, size, size)], 10, {}), **given})
        assert network(torch.empty(2, 3, size, size)).shape == (2, 10)
    assert network.layers[0].in_features == dense


def test_a_network_that_was_saved_without_the_average_has_none():
    with torch.device("meta"):
        network = CNN(shape=[3, 64, 64], outputs=10)
    assert network.layers[0].in_features == 32 * 16 * 16
    assert not any(isinstance(layer, torch.nn.AdaptiveAvgPool2d) for layer in network.modules())


def test_an_image_and_its_flat_row_give_the_same():
    network = CNN(shape=[1, 8, 8], outputs=10)
    image = torch.rand(2, 1, 8, 8)
    assert torch.equal(network(image), network(image.flatten(1)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CNN.sizes([(50,)], 2, {}), r"cannot see an image in rows of the shape \(50,\)"),
        (lambda: CNN.sizes([(50,)], 2, {"shape": [1, 7, 7]}), r"moduleParams\['shape'\]=\[1, 7, 7\] does not fit"),
        (lambda: CNN.sizes([(4, 4), (1,)], 2, {}), "cnn takes one input, the data has 2"),
        (lambda: CNN.sizes([(4, 4)], None, {}), r"give moduleParams\['outputs'\]"),
        (lambda: MLP.sizes([(5,)], 3, {"inputs": 4}), r"moduleParams\['inputs'\]=4 does not fit rows of 5"),
        (lambda: MLP(3, 1, hidden=[0]), "invalid each of hidden=0: expected an integer >= 1"),
        (lambda: MLP(3, 1, hidden=[2.5]), "invalid each of hidden=2.5: expected an integer >= 1"),
        (lambda: MLP(3, 1, hidden=[float("nan")]), "invalid each of hidden=nan: expected an integer >= 1"),
        (lambda: MLP(3, 1, hidden="x"), "invalid hidden='x': expected a list of integers >= 1"),
        (lambda: MLP(3, 1, dropout="x"), "invalid dropout='x': expected a number >= 0 and < 1"),
        (lambda: MLP(3, 1, dropout=None), "invalid dropout=None: expected a number"),
        (lambda: MLP(3, 1, activation=["relu"]), "is not known"),
        (lambda: MLP(3, 1, dropout=1.0), "invalid dropout=1.0: expected a number >= 0 and < 1"),
        (lambda: MLP(3, 1, activation="rely"), "activation='rely' is not known: did you mean 'relu'"),
        (lambda: CNN([1, 8], 2), "expected three integers"),
        (lambda: MLP(3, 1)(torch.ones(2, 4)), "made for 3 numbers a row, it got 4"),
        (lambda: CNN([1, 8, 8], 2)(torch.ones(2, 60)), r"it got rows of \(60,\)"),
    ],
)
def test_what_cannot_work_is_a_sentence(make, message):
    with pytest.raises(NetworkError, match=message):
        make()


def test_needs_neither_spark_nor_horovod():
    program = "import sys, sparkdl.nn; print(sorted({'pyspark', 'horovod', 'petastorm', 'pyarrow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
