"""Whose fault an exception of a forward pass is, and that its class, its text and its place are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sparkdl.blame import is_misfit, out_of_memory
from sparkdl.errors import NetworkError
from sparkdl.network import check
from sparkdl.schema import ARRAY, INPUT, DataSchema, Field

X = Field("x", INPUT, ARRAY, ("x",), "float32", (4,))
SCHEMA = DataSchema((X,))
HERE = Path(__file__).name


def network(forward: Any) -> nn.Module:
    module: nn.Module = type("Net", (nn.Module,), {"forward": forward})()
    module.layer = nn.Linear(5, 1)
    module.table = nn.ModuleDict()
    return module


def own_check(self: Any, x: Tensor) -> Tensor:
    raise RuntimeError("my own check failed: shape of x")


def own_value(self: Any, x: Tensor) -> Tensor:
    raise ValueError("size must be 3")


def own_assertion(self: Any, x: Tensor) -> Tensor:
    assert x.shape[1] == 5
    return x


def missing_key(self: Any, x: Tensor) -> Tensor:
    return {"a": x}["b"]


def missing_layer(self: Any, x: Tensor) -> Tensor:
    return self.table["body"](x)


def missing_attribute(self: Any, x: Tensor) -> Tensor:
    return self.layers(x)


def cuda_only(self: Any, x: Tensor) -> Tensor:
    return torch.cudnn_convolution(x, x, [0], [1], [1], 1, False, False, False)


def on_a_gpu(self: Any, x: Tensor) -> Tensor:
    x.cuda()
    raise RuntimeError("CUDA is there")


def two_lines(self: Any, x: Tensor) -> Tensor:
    raise KeyError("one\ntwo")


def too_large(self: Any, x: Tensor) -> Tensor:
    return torch.zeros(1 << 60)


def wrong_call(self: Any, x: Tensor) -> Tensor:
    return self.layer(x, x)


def wrong_argument(self: Any, x: Tensor) -> Tensor:
    return self.layer(None)


@pytest.mark.parametrize(
    ("forward", "kind", "text"),
    [
        (own_check, RuntimeError, "RuntimeError: my own check failed: shape of x"),
        (own_value, ValueError, "ValueError: size must be 3"),
        (own_assertion, AssertionError, "AssertionError"),
        (missing_key, KeyError, "KeyError: 'b'"),
        (missing_layer, KeyError, "KeyError: 'body'"),
        (missing_attribute, AttributeError, "AttributeError: 'Net' object has no attribute 'layers'"),
        (cuda_only, NotImplementedError, "NotImplementedError: Could not run 'aten::cudnn_convolution'"),
        (two_lines, KeyError, "KeyError: 'one"),
        (too_large, RuntimeError, "RuntimeError: "),
        (wrong_call, TypeError, "forward() takes 2 positional arguments but 3 were given"),
        (wrong_argument, TypeError, "TypeError: linear()"),
    ],
)
def test_an_error_of_the_users_own_is_told_as_it_is(forward: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(NetworkError) as error:
        check(network(forward), SCHEMA)
    said = str(error.value)
    line = forward.__code__.co_firstlineno + 1
    assert said.startswith("the network Net raised ")
    assert text in said
    assert f"{HERE}, line {line}, in {forward.__name__})" in said
    assert "does not take its input" not in said
    assert "\n" not in said
    assert type(error.value.__cause__) is kind


def test_a_call_that_needs_a_gpu_is_not_blamed_on_the_sizes() -> None:
    with pytest.raises(NetworkError, match=rf"the network Net raised \w+: .*(CUDA|NVIDIA).* \(.*{HERE}, line") as error:
        check(network(on_a_gpu), SCHEMA)
    assert isinstance(error.value.__cause__, (RuntimeError, AssertionError))


def in_a_layer(self: Any, x: Tensor) -> Tensor:
    return self.layer(x)


def in_an_operator(self: Any, x: Tensor) -> Tensor:
    return x @ torch.zeros(5, 2)


def in_an_addition(self: Any, x: Tensor) -> Tensor:
    return x + torch.zeros(5)


def in_a_view(self: Any, x: Tensor) -> Tensor:
    return x.view(2, 3)


def in_a_dimension(self: Any, x: Tensor) -> Tensor:
    return x.sum(3)


def under_no_grad(self: Any, x: Tensor) -> Tensor:
    with torch.enable_grad():
        return self.layer(x)


def two_inputs(self: Any, x: Tensor, mask: Tensor) -> Tensor:
    return x


def no_input(self: Any) -> Tensor:
    return torch.zeros(2)


@pytest.mark.parametrize(
    "module",
    [
        *map(
            network,
            [
                in_a_layer,
                in_an_operator,
                in_an_addition,
                in_a_view,
                in_a_dimension,
                under_no_grad,
                two_inputs,
                no_input,
            ],
        ),
        nn.Linear(5, 1),
        nn.Linear(4, 1).double(),
        nn.Embedding(3, 2),
        nn.Conv2d(1, 2, 3),
        nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(3, 2, 3)),
        nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 2, 3)),
        nn.BatchNorm1d(5),
        nn.BatchNorm2d(4),
        nn.LayerNorm(5),
        nn.GRU(5, 2),
        nn.Sequential(nn.Unflatten(1, (2, 2)), nn.TransformerEncoderLayer(4, 2)),
        nn.Sequential(nn.Unflatten(1, (3, 2))),
    ],
    ids=lambda module: str(getattr(type(module), "forward", module).__name__) + type(module).__name__,
)
def test_sizes_and_types_that_do_not_fit_are_called_so(module: nn.Module) -> None:
    with pytest.raises(NetworkError, match=r"does not take its input x \(rows, 4\) float32: \w+: .") as error:
        check(module, SCHEMA)
    assert error.value.__cause__ is not None


def test_an_exception_that_was_never_raised_is_no_misfit() -> None:
    assert not is_misfit(RuntimeError("size mismatch"))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`"), False),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (ValueError("CUDA error: out of memory"), False),
    ],
)
def test_signs_of_no_memory(error: BaseException, expected: bool) -> None:
    assert out_of_memory(error) is expected


def test_the_allocator_of_the_cpu_says_it_in_words() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    assert out_of_memory(caught.value)
