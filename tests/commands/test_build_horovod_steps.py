"""Running commands: logged, limited, ended whole."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from sparkdl.commands.build_horovod_steps import BuildError, Log, step


def test_a_failure_shows_its_first_error_and_keeps_all_lines(tmp_path: Path) -> None:
    log = Log(tmp_path / "logs" / "log")
    program = (
        "import pathlib, sys; [print(f'line {i}') for i in range(100)]; "
        "print(f'{pathlib.Path.cwd()}/x.cc:1:2: error: first'); print('x.cc:2:3: error: second'); sys.exit(3)"
    )
    with pytest.raises(BuildError) as caught:
        log.run([sys.executable, "-c", program], "counting", 60, cwd=tmp_path)
    said = str(caught.value)
    assert said.startswith("counting failed, x.cc:1:2: error: first: ")
    assert said.endswith(f"; the whole output is in {log.path}")
    assert "\n" not in said
    assert "line 0\n" in log.path.read_text()


def test_a_log_that_does_not_last_is_not_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        Log(tmp_path / "log", lasting=False).run([sys.executable, "-c", "raise ValueError('no')"], "trying", 60)
    assert str(caught.value).startswith("trying failed, ValueError: no: ")
    assert str(tmp_path) not in str(caught.value)


def test_commands_speak_english_whatever_the_user_speaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    log = Log(tmp_path / "log")
    log.run([sys.executable, "-c", "import os; print(os.environ['LC_ALL'])"], "asking", 60)
    assert log.path.read_text().splitlines()[-1] == "C"


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
    with pytest.raises(
        BuildError, match=f"waiting took longer than 2 s and was ended; the whole output is in {log.path}"
    ):
        log.run([sys.executable, "-c", program], "waiting", 2)
    child = int(log.path.read_text().splitlines()[-1])
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
