"""What every transport promises, on two real ranks; the solo backend as the group of one."""

from __future__ import annotations

import os

import pytest
import torch

from sparkdl.comm import open_backend
from sparkdl.errors import SettingError


def _everything(backend):
    results = {"place": (backend.rank, backend.size, backend.local_rank)}
    for dtype in (torch.float32, torch.float64, torch.int64):
        tensor = torch.arange(6, dtype=dtype).view(2, 3) + 10 * backend.rank
        backend.all_reduce(tensor)
        results[str(dtype)] = tensor.tolist()
    shared = torch.full((4,), float(backend.rank + 5))
    backend.broadcast(shared, root=1)
    raw = torch.tensor([backend.rank, 255], dtype=torch.uint8)
    backend.broadcast(raw)
    backend.barrier()
    results["broadcast"] = (shared.tolist(), raw.tolist())
    return results


def test_sums_and_broadcasts(ranks):
    first, second = ranks.run(_everything)
    expected = [[10, 12, 14], [16, 18, 20]]
    assert first.pop("place") == (0, 2, 0)
    assert second.pop("place") == (1, 2, 1)
    assert first == second
    for dtype in (torch.float32, torch.float64, torch.int64):
        assert first[str(dtype)] == expected
    assert first["broadcast"] == ([6.0] * 4, [0, 255])


def test_a_group_of_one():
    backend = open_backend("local")
    tensor = torch.tensor([1.0, 2.0])
    backend.all_reduce(tensor)
    backend.broadcast(tensor)
    backend.barrier()
    backend.close()
    backend.abort()
    assert (backend.rank, backend.size, backend.name, tensor.tolist()) == (0, 1, "local", [1.0, 2.0])


def test_unknown_name():
    with pytest.raises(SettingError, match="invalid backend='mpi': expected 'horovod'"):
        open_backend("mpi")


def test_nobody_comes():
    # In a process of its own: a group that failed cannot be joined again.
    import subprocess
    import sys

    program = "from sparkdl.comm import open_backend; open_backend('torch', timeout=2)"
    environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "RANK": "1", "WORLD_SIZE": "2"}
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **environment}, capture_output=True, timeout=60
    )
    assert done.returncode == 1
    assert b"timed out" in done.stderr.lower() or b"timeout" in done.stderr.lower()
