"""Importing torchmetrics changes nothing for others; a rank may do it without scipy.signal."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from concurrent.futures import ThreadPoolExecutor
from lightning_utilities.core import imports
from sparkdl.train.metrics import load_torchmetrics, load_without_scipy

def functions():
    return (imports.package_available, imports.RequirementCache.__bool__)

before = functions()
{calls}
print(functions() == before, imports.package_available("scipy"), "scipy.signal" in sys.modules)
"""


def run(calls: str) -> str:
    program = PROGRAM.format(calls=calls)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("calls", "scipy_is_imported"),
    [
        ("with ThreadPoolExecutor(8) as pool: list(pool.map(lambda _: load_torchmetrics(), range(64)))", True),
        ("load_without_scipy()", False),
        ("load_torchmetrics(); load_without_scipy()", True),
    ],
)
def test_lightnings_functions_are_as_before(calls: str, scipy_is_imported: bool) -> None:
    assert run(calls) == f"True True {scipy_is_imported}"


def test_a_driver_never_changes_them() -> None:
    changed = """
seen = set()
def watch():
    while not done:
        seen.add(functions())
import threading
done = False
thread = threading.Thread(target=watch)
thread.start()
load_torchmetrics()
done = True
thread.join()
assert seen == {before}, seen
"""
    assert run(changed).startswith("True True")
