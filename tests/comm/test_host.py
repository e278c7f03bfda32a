"""Ranks of one host, and of two: what is summed in memory, and what goes on by the network."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sparkdl.comm import open_backend
from sparkdl.comm.backend import Backend
from sparkdl.comm.host import may_rest, sharing_host


def everything(backend: Any) -> dict[str, Any]:
    """Take every collective; sizes around those of a slot."""
    found: dict[str, Any] = {"kind": type(backend).__name__, "place": (backend.rank, backend.size, backend.local_rank)}
    for dtype in (torch.float32, torch.float64, torch.int64):
        for size in (0, 7, 100_000, *([1_500_001] if dtype == torch.float32 else [])):
            tensor = torch.arange(size, dtype=dtype) % 1000 * (backend.rank + 1)
            backend.all_reduce(tensor)
            found[f"{dtype} {size}"] = (float(tensor.double().sum()), tensor[-3:].tolist())
    for root in range(backend.size):
        tensor = torch.full((2, 5), backend.rank, dtype=torch.uint8)
        backend.broadcast(tensor, root)
        found[f"from {root}"] = tensor.unique().tolist()
    backend.barrier()
    return found


def test_ranks_of_two_hosts_sum_and_broadcast(hosts: Any) -> None:
    found = hosts.run(everything)
    assert [of.pop("place") for of in found] == [(0, 4, 0), (1, 4, 1), (2, 4, 2), (3, 4, 0)]
    assert all(of == found[0] for of in found)
    assert found[0].pop("kind") == "HostBackend"
    for root in range(4):
        assert found[0].pop(f"from {root}") == [root]
    for name, (total, _) in found[0].items():
        size = int(name.split()[1])
        assert total == 10 * float((torch.arange(size) % 1000).sum()), name


def test_callbacks_may_talk_by_the_backend_that_ranks_of_one_host_do_not_need(ranks: Any) -> None:
    def state(backend: Any) -> tuple[str, float]:
        import torch
        import torch.distributed as dist

        number = torch.ones(1)
        if type(backend).__name__ == "HostBackend":
            dist.all_reduce(number)
        else:
            backend.all_reduce(number)
        return type(backend).__name__, float(number)

    first, second = ranks.run(state)
    assert first == second
    assert first[1] == 2


def test_ranks_that_cannot_share_use_the_network(ranks: Any) -> None:
    def share(inner: Any) -> tuple[bool, bool, list[str]]:
        import os
        import secrets

        # Each names a segment of its own: the second rank finds none.
        environment = {"SPARKDL_SEGMENT": f"sparkdl-test-{secrets.token_hex(8)}", "LOCAL_WORLD_SIZE": "2"}
        apart = sharing_host(inner, "cpu", 30.0, environment)
        on_a_gpu = sharing_host(inner, "cuda" if inner.rank else "cpu", 30.0, environment)
        inner.barrier()
        return apart is inner, on_a_gpu is inner, [f for f in os.listdir("/dev/shm") if f in environment.values()]

    assert ranks.run(share) == [(True, True, [])] * 2


def test_one_rank_shares_with_nobody() -> None:
    alone: Backend = open_backend("local")
    assert sharing_host(alone, "cpu", 1.0, {"SPARKDL_SEGMENT": "x", "LOCAL_WORLD_SIZE": "1"}) is alone


@pytest.mark.parametrize(
    ("device", "changed", "rests"),
    [
        ("cpu", {}, True),
        ("cuda", {}, False),
        ("cpu", {"WORLD_SIZE": "3"}, False),
        ("cpu", {"SPARKDL_SEGMENT": None}, False),
    ],
)
def test_a_backend_rests_only_where_all_ranks_sum_in_memory(
    device: str, changed: dict[str, str | None], rests: bool
) -> None:
    given = {"SPARKDL_SEGMENT": "segment", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "2", **changed}
    assert may_rest(device, {name: value for name, value in given.items() if value is not None}) is rests
