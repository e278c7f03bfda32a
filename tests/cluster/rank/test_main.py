"""What a rank's process does beside its function; the rest is in test_process and test_launch."""

from __future__ import annotations

import os
import subprocess
import sys

FAULTS = """
import resource
from sparkdl.cluster.rank.main import keep_freed_memory
keep_freed_memory()
for turn in range(40):
    if turn == 20:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [bytearray(16 << 20) for _ in range(3)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
PAGES = 20 * 3 * (16 << 20) // 4096


def test_freed_memory_is_used_again():
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], env=plain, capture_output=True, text=True, timeout=120, check=True
    )
    assert int(done.stdout) < PAGES // 20, "pages that the system has cleared"
