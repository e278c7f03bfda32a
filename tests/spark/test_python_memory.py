from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sparkdl.errors import ClusterError
from sparkdl.spark.python_memory import check_python_memory


def session(**settings: str) -> Any:
    """What is asked of a session: Spark sets these for a whole application, and never while it runs."""
    confs = {f"spark.executor.{name.replace('_', '.')}": value for name, value in settings.items()}
    return SimpleNamespace(
        conf=SimpleNamespace(get=lambda key, default=None: confs.get(key, default)),
        sparkContext=SimpleNamespace(getConf=lambda: confs),
    )


def test_a_limit_under_which_torch_cannot_be_imported() -> None:
    with pytest.raises(ClusterError) as error:
        check_python_memory(session(pyspark_memory="900m", cores="2"))
    assert str(error.value) == (
        "spark.executor.pyspark.memory=900m leaves each Python worker 450 MiB of address space, and torch needs 2 to 4 "
        "GiB: set it to 8g or more, or leave it out"
    )
    with pytest.raises(ClusterError, match="=2047 leaves each Python worker 2,047 MiB"):
        check_python_memory(session(pyspark_memory="2047"))


@pytest.mark.parametrize(
    "settings", [{}, {"cores": "8"}, {"pyspark_memory": "4096"}, {"pyspark_memory": "8g", "cores": "4"}]
)
def test_a_limit_that_is_wide_enough(settings: dict[str, str]) -> None:
    check_python_memory(session(**settings))
