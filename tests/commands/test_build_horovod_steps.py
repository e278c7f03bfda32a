"""Running commands: logged, limited, ended whole."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from sparkdl.commands.build_horovod_steps import LINES_SHOWN, BuildError, Log, step


def test_a_failure_shows_its_last_lines_and_keeps_them_all(tmp_path: Path) -> None:
    log = Log(tmp_path / "logs" / "log")
    program = "import sys; [print(f'line {i}') for i in range(100)]; sys.exit(3)"
    with pytest.raises(BuildError, match="counting failed with status 3") as caught:
        log.run([sys.executable, "-c", program], "counting", 60)
    shown = [line.strip() for line in str(caught.value).splitlines()[1:]]
    assert shown == [f"line {i}" for i in range(100 - LINES_SHOWN, 100)]
    assert str(log.path) in str(caught.value)
    assert "line 0\n" in log.path.read_text()
    assert log.last_line() == "line 99"


def test_a_log_is_begun_anew_for_each_build_and_holds_all_its_commands(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("of another day")
    log = Log(path)
    for word in ("one", "two"):
        log.run([sys.executable, "-c", f"print({word!r})"], "printing", 60)
    assert [line for line in path.read_text().splitlines() if not line.startswith("$")] == ["one", "two"]


def test_a_command_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    log = Log(tmp_path / "log")
    program = "import subprocess, sys; p = subprocess.Popen(['sleep', '300']); print(p.pid, flush=True); p.wait()"
    with pytest.raises(BuildError, match="waiting took longer than 2 s and was ended"):
        log.run([sys.executable, "-c", program], "waiting", 2)
    child = int(log.last_line())
    end = time.monotonic() + 10
    while _is_running(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _is_running(child)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]


def test_a_program_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="trying: no-such-program cannot be started"):
        Log(tmp_path / "log").run(["no-such-program"], "trying", 5)


def test_a_step_says_what_it_does_and_how_long_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    with step("sleep a little"):
        time.sleep(0.11)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "- sleep a little ..."
    assert second == "  done in 0.1 s"
