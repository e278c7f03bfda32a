from __future__ import annotations

import pytest

from sparkdl.errors import ClusterError, SettingError
from sparkdl.preflight.gpus import check_gpus, will_have_gpus
from sparkdl.spark.facts import SessionFacts


def test_ranks_that_may_run_on_the_cpu_pass(spark):
    check_gpus(SessionFacts.read(spark), 2, device="auto", visible=())
    check_gpus(SessionFacts.read(spark), 2, device="auto", precision="bf16", visible=())
    check_gpus(SessionFacts.read(spark), 2, device="cpu", visible=())


def test_a_local_master_shares_out_what_its_host_shows(spark):
    check_gpus(SessionFacts.read(spark), 2, device="cuda", precision="fp16", visible=("0", "1"))
    with pytest.raises(
        ClusterError,
        match=r"^device='cuda' needs a GPU for each rank, and np=2 on a local master, whose host shows 1: lower np, or",
    ):
        check_gpus(SessionFacts.read(spark), 2, device="cuda", visible=("0",), name="np")


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_fp16_is_refused_where_no_rank_will_have_a_gpu(spark, device):
    with pytest.raises(
        SettingError,
        match=r"^precision='fp16' needs a GPU for each rank, and numProcs=2 on a local master, whose host shows 0: "
        r"make GPUs visible \(CUDA_VISIBLE_DEVICES\), or take 'bf16' or 'float32'$",
    ):
        check_gpus(SessionFacts.read(spark), 2, device=device, precision="fp16", visible=())


def test_gpus_that_spark_gives_to_tasks_count(spark):
    check_gpus(SessionFacts.read(spark), 2, device="cuda", visible=(), resources={"cpus": 1, "gpu": 1})
    spark.conf.set("spark.task.resource.gpu.amount", "1")
    try:
        check_gpus(SessionFacts.read(spark), 2, device="auto", precision="fp16", visible=())
    finally:
        spark.conf.unset("spark.task.resource.gpu.amount")


@pytest.mark.usefixtures("cpu_torch")
def test_a_torch_for_cpus_makes_no_use_of_gpus(spark):
    with pytest.raises(
        ClusterError,
        match=r"^device='cuda' needs a GPU for each rank, and the torch in the driver's Python is built for CPUs: "
        r"run pip install --force-reinstall torch, or use device='auto'$",
    ):
        check_gpus(SessionFacts.read(spark), 2, device="cuda", visible=("0", "1"))
    with pytest.raises(
        SettingError, match=r"is built for CPUs: run pip install --force-reinstall torch, or take 'bf16'"
    ):
        check_gpus(SessionFacts.read(spark), 2, device="auto", precision="fp16", visible=("0", "1"))
    check_gpus(SessionFacts.read(spark), 2, device="auto", visible=("0", "1"))
    assert not will_have_gpus(SessionFacts.read(spark), 2, device="auto", visible=("0", "1"))


def test_which_ranks_will_have_gpus(spark):
    assert will_have_gpus(SessionFacts.read(spark), 2, device="auto", visible=("0", "1"))
    assert will_have_gpus(None, 2, device="cuda", visible=("0", "1"))
    assert not will_have_gpus(SessionFacts.read(spark), 2, device="cpu", visible=("0", "1"))
    assert not will_have_gpus(SessionFacts.read(spark), 2, device="auto", visible=("0",))
    assert will_have_gpus(SessionFacts.read(spark), 2, device="auto", visible=(), resources={"gpu": 1})
