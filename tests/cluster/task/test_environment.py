from __future__ import annotations

import os

import pytest

from sparkdl.cluster.task.environment import (
    base_environment,
    gpus_of_rank,
    rendezvous_environment,
    usable_gpus,
    visible_gpus,
)
from sparkdl.cluster.task.topology import assign
from sparkdl.comm.registry import Meeting
from sparkdl.errors import ClusterError

PLACES = assign(["h", "h"])


def test_visible_gpus_follow_the_environment_and_else_the_devices(tmp_path):
    for name in ("nvidia0", "nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert visible_gpus({}, tmp_path) == ("0", "2", "10")
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "3, 1"}, tmp_path) == ("3", "1")
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": ""}, tmp_path) == ()
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "-1"}, tmp_path) == ()


def test_the_tasks_gpus_come_first_and_cpu_hides_them():
    assert gpus_of_rank("auto", ["5"], None, PLACES[1]) == ("5",)
    assert gpus_of_rank("cuda", ["5"], None, PLACES[1]) == ("5",)
    assert gpus_of_rank("cpu", ["5"], ["0", "1"], PLACES[1]) == ()


def test_on_a_local_master_the_visible_ones_are_shared_out_by_local_rank():
    assert [gpus_of_rank("auto", [], ["7", "8"], place) for place in PLACES] == [("7",), ("8",)]
    assert [gpus_of_rank("auto", [], ["7"], place) for place in PLACES] == [(), ()]
    assert gpus_of_rank("auto", [], None, PLACES[0]) == ()


def test_cuda_without_a_gpu_names_the_numbers_and_the_remedy():
    with pytest.raises(
        ClusterError, match=r"device='cuda', but rank 1 on host h has 1 visible GPUs for 2 ranks: lower"
    ):
        gpus_of_rank("cuda", [], ["0"], PLACES[1])
    with pytest.raises(ClusterError, match=r"rank 0 on host h has no GPU: .*spark.task.resource.gpu.amount"):
        gpus_of_rank("cuda", [], None, PLACES[0])


def test_the_users_environment_wins_and_sparks_secrets_stay_behind():
    before = dict(os.environ)
    env = base_environment(
        {"A": "1", "PYTHON_WORKER_FACTORY_SECRET": "x", "CUDA_VISIBLE_DEVICES": "9"}, {"OMP_NUM_THREADS": "7"}, 2, ["3"]
    )
    assert env["A"] == "1"
    assert env["OMP_NUM_THREADS"] == "7"
    assert env["CUDA_VISIBLE_DEVICES"] == "3"
    assert "PYTHON_WORKER_FACTORY_SECRET" not in env
    assert dict(os.environ) == before


def test_every_rank_knows_its_place_and_only_its_backends_meeting_point():
    place = PLACES[1]
    common = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    assert rendezvous_environment(place, "local", None) == common
    torch = rendezvous_environment(place, "torch", Meeting(("h", 99), "lo", 300))
    assert torch == {**common, "MASTER_ADDR": "h", "MASTER_PORT": "99", "GLOO_SOCKET_IFNAME": "lo"}
    horovod = rendezvous_environment(place, "horovod", Meeting(("h", 99), None, 300, "secret"))
    assert "HOROVOD_CYCLE_TIME" not in horovod
    assert horovod["HOROVOD_GLOO_RENDEZVOUS_PORT"] == "99"
    assert horovod["HOROVOD_GLOO_RENDEZVOUS_ADDR"] == "h:99/secret"
    assert "HOROVOD_GLOO_IFACE" not in horovod
    assert "MASTER_ADDR" not in horovod


@pytest.mark.usefixtures("cpu_torch")
def test_a_torch_for_cpus_has_no_usable_gpus():
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "0,1"}) == ("0", "1")
    assert usable_gpus({"CUDA_VISIBLE_DEVICES": "0,1"}) == ()
