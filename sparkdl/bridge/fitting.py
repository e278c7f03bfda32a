"""The process that fits for Scala: ordinary estimators on the sessions and DataFrames of a JVM that started it.

The JVM hands out requests over py4j; each is served by a thread of its own, so that a search may fit several at once.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkException
from pyspark.java_gateway import launch_gateway
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType
from torch import nn

import sparkdl
from sparkdl.bridge.names import names_of_files
from sparkdl.errors import PersistenceError, SettingError, SparkDLError
from sparkdl.estimators.base import TrainingStage
from sparkdl.estimators.model import model_class
from sparkdl.network import register
from sparkdl.network.registry import name_of
from sparkdl.persistence.params import imported
from sparkdl.persistence.reading import read_object
from sparkdl.persistence.stage import read_stage, write_stage
from sparkdl.spark.causes import cause_of

_ESTIMATORS = ("TorchEstimator", "TorchClassifier", "TorchRegressor")
_POLL_MS = 1000
_IDLE_SECONDS = 300.0
"""After so long without a request the process ends; the JVM starts another when it needs one."""


def serve(key: str) -> None:
    """Serve the requests of a JVM until it wants no more.

    Parameters
    ----------
    key : str
        Under which the JVM keeps the object that hands out requests.
    """
    gateway = launch_gateway()
    driver = gateway.jvm.sparkdl.fitting.PythonDrivers.get(key)
    java_context = driver.javaContext()
    context = SparkContext(gateway=gateway, jsc=java_context, conf=SparkConf(_jconf=java_context.getConf()))
    threads: list[threading.Thread] = []
    busy = time.monotonic()
    while True:
        request = driver.take(_POLL_MS)
        threads = [thread for thread in threads if thread.is_alive()]
        if request is not None:
            thread = threading.Thread(target=_answer, args=(context, request), name="sparkdl-request", daemon=True)
            thread.start()
            threads.append(thread)
        if threads:
            busy = time.monotonic()
        elif time.monotonic() - busy > _IDLE_SECONDS and driver.leave():
            return


def _answer(context: SparkContext, request: Any) -> None:
    try:
        request.begin()
        request.succeed(_result(context, request))
    except BaseException as error:
        request.fail(_sentence(error), traceback.format_exc())


def _result(context: SparkContext, request: Any) -> str:
    session = _session(context, request.session())
    folder = Path(request.stage())
    _rename(folder / "metadata" / "part-00000", _register(request.names()))
    estimator = _estimator(folder, json.loads(request.secrets()))
    if request.network():
        estimator.setModule(_network(Path(request.network())))
    if request.kind() == "schema":
        schema = StructType.fromJson(json.loads(request.schema()))
        return str(estimator.transformSchema(schema).json())
    model = estimator.fit(DataFrame(request.dataset(), session))
    target = Path(request.target())
    write_stage(model, target)
    return str(target)


def _session(context: SparkContext, java_session: Any) -> SparkSession:
    # The constructor makes the first session of a process that of the JVM's threads, too: whose default session is
    # that of the program which asked, and stays it.
    jvm = cast(Any, context._jvm)
    sessions = jvm.org.apache.spark.sql.classic.SparkSession
    before = sessions.getDefaultSession()
    session = SparkSession(context, java_session)
    if before.isDefined():
        sessions.setDefaultSession(before.get())
    return session


def _register(names: Iterable[str]) -> dict[str, str]:
    """Import what the program has named, so that the estimator can refer to it; return their own names."""
    own = {}
    for name in names:
        try:
            found = imported(name)
        except (ImportError, AttributeError) as error:
            raise SettingError(
                f"{name!r} cannot be imported by the driver's Python ({error}): put its module on PYTHONPATH, or "
                "install it there"
            ) from error
        own[name] = name_of(register(found))
    return own


def _rename(metadata: Path, own: Mapping[str, str]) -> None:
    """Give what the metadata refer to its own name: torch.nn:Linear is torch.nn.modules.linear:Linear."""

    def renamed(item: dict[str, Any]) -> dict[str, Any]:
        key = {"object": "v", "callback": "class"}.get(str(item.get("$")))
        return {**item, key: own.get(item[key], item[key])} if key else item

    if any(name != given for given, name in own.items()):
        metadata.write_text(json.dumps(json.loads(metadata.read_text(), object_hook=renamed)))


def _estimator(folder: Path, secrets: dict[str, Any]) -> TrainingStage[Any]:
    name = str(read_object(folder / "metadata" / "part-00000").get("class")).removeprefix("sparkdl.")
    if name not in _ESTIMATORS:
        raise PersistenceError(f"{name} is no estimator of sparkdl's")
    with names_of_files():
        estimator: TrainingStage[Any] = read_stage(getattr(sparkdl, name), folder, "the estimator")
    estimator.setParams(**secrets)
    return estimator


def _network(folder: Path) -> nn.Module:
    shown = "the model whose network is trained"
    with names_of_files():
        return read_stage(model_class(folder, shown), folder, shown).network


def _sentence(error: BaseException) -> str:
    if isinstance(error, SparkDLError):
        return str(error)
    if isinstance(error, PySparkException):
        return cause_of(error)
    return f"{type(error).__name__}: {error}"


def _end_with_the_jvm() -> None:
    """Wait for the end of standard input, which the JVM holds open as long as it lives."""
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_the_jvm, name="sparkdl-lifeline", daemon=True).start()
    serve(sys.argv[1])
    # Threads of py4j would keep the process.
    sys.stdout.flush()
    os._exit(0)
