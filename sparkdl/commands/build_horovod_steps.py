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

from sparkdl.commands.build_horovod_cause import cause_of


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
    lasting : bool
        False for one that is gone before anybody could read it, so that no error names it.
    """

    def __init__(self, path: Path, lasting: bool = True) -> None:
        self.path = path
        self._lasting = lasting
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
            When it fails, with the first error in its output and what helps, or when it takes longer than `seconds`.
        """
        words = list(command)
        where = f"; the whole output is in {self.path}" if self._lasting else ""
        # In English, so that an error is known when it is seen.
        environment = {**(os.environ if env is None else env), "LC_ALL": "C"}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab" if self._begun else "wb") as file:
            self._begun = True
            file.write(f"$ {shlex.join(words)}\n".encode())
            file.flush()
            begin = file.tell()
            try:
                status = _run_group(words, seconds, environment, cwd, file.fileno())
            except OSError as error:
                raise BuildError(f"{what}: {words[0]} cannot be started: {error}") from error
            except subprocess.TimeoutExpired:
                raise BuildError(f"{what} took longer than {seconds:.0f} s and was ended{where}") from None
        if status != 0:
            output = self.path.read_bytes()[begin:].decode(errors="replace")
            cause = cause_of(output, status, [] if cwd is None else [cwd])
            raise BuildError(f"{what} failed, {cause}{where}")


def _run_group(words: list[str], seconds: float, env: Mapping[str, str], cwd: Path | None, output: int) -> int:
    """Run in a process group of its own, so that compilers do not outlive a build that is given up."""
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=env,
        cwd=cwd,
        start_new_session=True,
    )
    try:
        return process.wait(timeout=seconds)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=10)
