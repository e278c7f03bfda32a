from __future__ import annotations

import os
import sys
import threading

import cloudpickle
import pytest
import torch
from torch import nn

from sparkdl.cluster.driver.pickling import check_sendable, driver_path, driver_versions, pickle_arguments
from sparkdl.errors import SettingError


class Holder:
    def __init__(self, part: object) -> None:
        self.part = part


def test_arguments_arrive_functions_by_value_too():
    factor = 3
    blob = pickle_arguments({"f": lambda x: x * factor, "n": 2})
    kwargs = cloudpickle.loads(blob)
    assert kwargs["f"](kwargs["n"]) == 6


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (threading.Lock(), r"argument 'model' \(_thread.lock\)"),
        ({"a": [1, threading.Lock()]}, r"argument 'model'\['a'\]\[1\] \(_thread.lock\)"),
        (Holder(threading.Lock()), r"attribute 'part' of argument 'model' \(_thread.lock\)"),
    ],
)
def test_a_value_that_cannot_be_pickled_is_named_with_its_place(value, place):
    with pytest.raises(SettingError, match=place + r" cannot be sent to the ranks: .*Create it inside the function"):
        pickle_arguments({"ok": 1, "model": value})


def test_what_a_function_closes_over_is_named():
    lock = threading.Lock()

    def main():
        return lock

    with pytest.raises(SettingError, match="the name 'lock' that .*main uses"):
        pickle_arguments({"main": main, "arguments": {}})


def test_what_can_be_sent_passes_without_its_tensors():
    class Counting(torch.Tensor):
        def __reduce_ex__(self, protocol):
            raise AssertionError("copied")

    network = nn.Linear(2, 1)
    network.table = torch.ones(3).as_subclass(Counting)
    check_sendable({"module": network, "loss": lambda output, target: output - target, "lossParams": {"a": [1]}})


def test_what_cannot_be_sent_is_named_by_its_param():
    lock = threading.Lock()
    network = nn.Sequential(nn.Linear(2, 1), nn.Sequential(nn.ReLU()))
    network[1][0].part = {"a": lock}

    def loss(output, target):
        with lock:
            return output - target

    for values, place in (
        ({"module": network}, r"attribute 'part' of module.1.0\['a'\] \(_thread.lock\)"),
        ({"loss": loss}, "the name 'lock' that .*loss uses"),
        ({"module": nn.Linear(1, 1), "callbacks": [1, Holder(lock)]}, r"attribute 'part' of callbacks\[1\]"),
    ):
        with pytest.raises(SettingError, match=place + ".* cannot be sent to the ranks: .*Make it on the ranks"):
            check_sendable(values)


def test_a_spark_session_is_named(spark):
    def main():
        return spark.range(3).count()

    with pytest.raises(
        SettingError, match=r"the name 'spark' that .*main uses \(pyspark.*SparkSession\) cannot be sent"
    ):
        pickle_arguments({"main": main})


def test_versions_need_no_import_of_the_packages():
    versions = driver_versions()
    assert versions["python"] == f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert set(versions) == {"python", "sparkdl", "torch", "horovod", "pyarrow", "cloudpickle"}


def test_the_users_folders_go_along_and_the_environments_do_not(tmp_path):
    own = str(tmp_path / "project")
    found = driver_path([own, "", os.path.join(sys.prefix, "lib"), os.path.dirname(os.__file__)])
    assert found[:2] == (own, os.getcwd())
    assert len(found) == 2
