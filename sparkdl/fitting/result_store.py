"""The place of a file for weights that Spark would not carry back to the driver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import nn

from sparkdl.cluster.driver.results import ResultFolder
from sparkdl.comm.wire import size_of
from sparkdl.errors import ClusterError
from sparkdl.spark.facts import SessionFacts

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_AROUND = 1 << 20
"""Bytes that go along with the weights: names, the history."""


@contextmanager
def result_folder(
    spark: SparkSession,
    facts: SessionFacts,
    module: nn.Module,
    cache_url: str | None,
    storage_options: Mapping[str, Any],
) -> Iterator[ResultFolder | None]:
    """Give the folder in which rank 0 may leave the weights, where they could be too large for Spark; then remove it.

    It lies where packed rows lie. None: Spark can carry the weights, or driver and tasks share a host, where the launch
    finds a place by itself.

    Parameters
    ----------
    spark : SparkSession
    facts : SessionFacts
    module : nn.Module
        The network.
    cache_url : str or None
    storage_options : mapping

    Raises
    ------
    ClusterError
        If there is no place that all hosts share.
    """
    limit = facts.result_limit
    size = weights_bytes(module)
    if facts.shares_host or size + _AROUND <= limit:
        yield None
        return
    from sparkdl.data.write import choose_folder

    try:
        folder = choose_folder(spark, facts, cache_url, storage_options)
    except ClusterError as error:
        raise ClusterError(
            f"the network has {size:,} bytes of weights, this driver takes {limit:,} ({facts.result_setting}), and "
            f"there is no place that all hosts share for a file: raise {facts.result_setting.rpartition(' ')[2]}, or "
            "set cacheUrl"
        ) from error
    with folder:
        yield ResultFolder(folder.url, folder.storage_options)


def weights_bytes(module: nn.Module) -> int:
    """Return the bytes of a network's parameters and buffers."""
    return sum(size_of(tensor) for tensor in (*module.parameters(), *module.buffers()))
