"""Two ranks, by either transport, shared by all tests of this folder."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def _ranks() -> Any:
    spec = importlib.util.spec_from_file_location("sparkdl_test_ranks", Path(__file__).with_name("ranks.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_HOROVOD = pytest.param(
    "horovod", marks=pytest.mark.skipif(not importlib.util.find_spec("horovod"), reason="Horovod is not built here")
)


@pytest.fixture(scope="session", params=[_HOROVOD, "torch", "memory"])
def ranks(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A group of two ranks: `ranks.run(function)` calls function(backend) on both."""
    memory = request.param == "memory"
    with _ranks().open_ranks("torch" if memory else request.param, hosts=[2] if memory else []) as pool:
        yield pool


@pytest.fixture(scope="module", params=[_HOROVOD, "torch"])
def hosts(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A group of four ranks, three of which share memory."""
    with _ranks().open_ranks(request.param, hosts=[3, 1]) as pool:
        yield pool
