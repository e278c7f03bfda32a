from __future__ import annotations

import math
import os
import subprocess
import sys

import pytest

from sparkdl.comm.horovod import cycle_milliseconds


@pytest.mark.parametrize(
    ("step_seconds", "cycle"),
    [(0.0, 0.3), (0.0001, 0.3), (0.01, 1.0), (0.09, 3.0), (0.16, 4.0), (60.0, 10.0), (math.inf, 10.0)],
)
def test_the_longer_a_step_computes_the_longer_is_a_cycle(step_seconds, cycle):
    assert cycle_milliseconds(step_seconds) == pytest.approx(cycle)


PROGRAM = """
import os
from sparkdl.comm.horovod import HorovodBackend
HorovodBackend(step_seconds=0.16).close()
print(os.environ["HOROVOD_CYCLE_TIME"])
"""


@pytest.mark.parametrize(("users", "seen"), [(None, "4.00"), ("7.5", "7.5")])
def test_a_cycle_time_of_the_users_wins(users: str | None, seen: str) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("HOROVOD_")}
    if users is not None:
        env["HOROVOD_CYCLE_TIME"] = users
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, timeout=200)
    assert done.stdout.strip() == seen, done.stderr
