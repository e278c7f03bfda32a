"""Running the steps of ``sparkdl-build-horovod``: said aloud, timed, limited, logged."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

LINES_SHOWN = 25
"""Lines of a failed command's output that the error repeats."""


class BuildError(Exception):
    """Something that the user has to know, in one sentence."""


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what is being done, and then how long it took."""
    print(f"- {what} ...", flush=True)
    begin = time.monotonic()
    yield
    print(f"  done in {time.monotonic() - begin:.1f} s", flush=True)


class Log:
    """The output of all commands of one build.

    Parameters
    ----------
    path : Path
        File; it is begun anew at the first command and stays when the build is over.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begun = False

    def run(
        self,
        command: Sequence[str],
        what: str,
        seconds: float,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Run `command`, its output into the log.

        Raises
        ------
        BuildError
            When it fails, with the last lines of its output, or when it takes longer than `seconds`.
        """
        words = list(command)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab" if self._begun else "wb") as file:
            self._begun = True
            file.write(f"$ {shlex.join(words)}\n".encode())
            file.flush()
            begin = file.tell()
            status = _run_group(words, seconds, env, cwd, file.fileno(), what)
        if status != 0:
            lines = self._text(begin).splitlines()[-LINES_SHOWN:]
            shown = "".join(f"\n    {line}" for line in lines)
            raise BuildError(f"{what} failed with status {status}, the whole output is in {self.path}:{shown}")

    def last_line(self) -> str:
        """Return the last line that holds anything."""
        lines = [line.strip() for line in self._text(0).splitlines() if line.strip()]
        return lines[-1] if lines else "no output"

    def _text(self, begin: int) -> str:
        return self.path.read_bytes()[begin:].decode(errors="replace") if self.path.exists() else ""


def _run_group(
    words: list[str],
    seconds: float,
    env: Mapping[str, str] | None,
    cwd: Path | None,
    output: int,
    what: str,
) -> int:
    """Run in a process group of its own, so that compilers do not outlive a build that is given up."""
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
    except OSError as error:
        raise BuildError(f"{what}: {words[0]} cannot be started: {error}") from error
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise BuildError(f"{what} took longer than {seconds:.0f} s and was ended") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=10)
