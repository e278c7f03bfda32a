"""Pickles of what torch pickles only by torch.save, or not at all."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from sparkdl.comm.torch_pickle import dumps, is_parametrized
from sparkdl.comm.wire import same


@pytest.mark.filterwarnings("ignore:ComplexHalf|TypedStorage")
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint16, torch.uint64, torch.complex32, torch.float8_e4m3fn])
def test_tensors_of_every_dtype(dtype: torch.dtype) -> None:
    whole = torch.tensor([[0, 1, 0], [1, 1, 0]]).to(dtype)
    kept = {"whole": whole, "turned": whole.t(), "parameter": nn.Parameter(whole[0], requires_grad=False)}
    back = pickle.loads(dumps(kept))
    assert isinstance(back["parameter"], nn.Parameter)
    for name, tensor in kept.items():
        assert (back[name].dtype, back[name].stride()) == (dtype, tensor.stride())
        assert same(back[name], tensor)


def test_a_parametrized_layer() -> None:
    layer = parametrizations.weight_norm(parametrizations.spectral_norm(nn.Linear(3, 2)), "bias").eval()
    network = nn.ModuleList([layer, layer])
    back = pickle.loads(dumps(network))
    assert is_parametrized(back[0])
    assert back[0] is back[1]
    assert not is_parametrized(nn.Linear(3, 2))
    rows = torch.randn(4, 3)
    assert torch.equal(back[0](rows), layer(rows))
    assert back.state_dict().keys() == network.state_dict().keys()
