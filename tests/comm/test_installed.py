"""What the driver finds out of Horovod and torch without importing them, in interpreters that have other ones."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
from sparkdl.comm.installed import horovod_problem, torch_has_gpus
print(horovod_problem(sys.argv[1] == "gpus"))
print(torch_has_gpus())
print(sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "horovod"}))
"""


def ask(*arguments: str, first: Path, options: tuple[str, ...] = ()) -> list[str]:
    """Return what an interpreter says that has `first` in front of its path."""
    done = subprocess.run(
        [sys.executable, *options, "-c", PROGRAM, *arguments],
        env={"PYTHONPATH": f"{first}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def a_horovod(folder: Path, library: bytes | None, torch: str | None = None) -> Path:
    """Make a Horovod as its build leaves it behind: an extension, and what it was built for."""
    (folder / "horovod" / "torch").mkdir(parents=True)
    (folder / "horovod" / "__init__.py").write_text("raise AssertionError('imported')")
    if library is not None:
        (folder / "horovod" / "torch" / f"mpi_lib_v2{EXTENSION_SUFFIXES[0]}").write_bytes(library)
    if torch is not None:
        (folder / "horovod" / "metadata.json").write_text(json.dumps({"pytorch": torch}))
    return folder


def a_torch(folder: Path, cuda: str | None, hip: str | None) -> None:
    """Make what a torch says of its build."""
    (folder / "torch").mkdir()
    (folder / "torch" / "__init__.py").write_text("raise AssertionError('imported')")
    (folder / "torch" / "version.py").write_text(
        f"from typing import Optional\n__version__ = '9.9'\ncuda: Optional[str] = {cuda!r}\nhip = {hip!r}\n"
    )


def test_the_installed_horovod_can_be_used(tmp_path: Path) -> None:
    assert ask("cpus", first=tmp_path)[0::2] == ["None", "[]"]


def test_a_folder_of_that_name_is_no_horovod(tmp_path: Path) -> None:
    (tmp_path / "horovod").mkdir()
    # -S leaves site-packages out.
    found = ask("cpus", first=tmp_path, options=("-S",))
    assert found[0] == (
        "Problem(found=\"Horovod is not installed in the driver's Python\", command='sparkdl-build-horovod')"
    )
    assert found[1] == "False"
    assert ask("gpus", first=tmp_path, options=("-S",))[0].endswith("command='sparkdl-build-horovod --nccl')")


@pytest.mark.parametrize(
    ("library", "torch", "wanted", "sentence"),
    [
        (None, None, "cpus", "the Horovod in the driver's Python was built without torch"),
        (b"code", "1.2.3+cpu", "cpus", f"was built for torch 1.2.3+cpu, not for {version('torch')}"),
        (b"code", version("torch"), "gpus", "was built without NCCL, which GPUs need"),
        (b"code", f"{version('torch').partition('+')[0]}+cu999", "cpus", None),
        (b"code", None, "cpus", None),
        (b"..ncclAllReduce..", version("torch"), "gpus", None),
    ],
)
def test_what_it_was_built_for_counts(
    tmp_path: Path, library: bytes | None, torch: str | None, wanted: str, sentence: str | None
) -> None:
    found, _, imported = ask(wanted, first=a_horovod(tmp_path, library, torch))
    assert imported == "[]"
    assert found == "None" if sentence is None else sentence in found


def test_a_horovod_for_gpus_does_not_go_with_a_torch_for_cpus(tmp_path: Path) -> None:
    a_torch(tmp_path, None, None)
    found = ask("cpus", first=a_horovod(tmp_path, b"..NCCL version..", version("torch")))
    assert "was built for GPUs, and torch for CPUs" in found[0]
    assert found[1:] == ["False", "[]"]


@pytest.mark.parametrize(("cuda", "hip", "gpus"), [(None, None, False), ("13.0", None, True), (None, "6.2", True)])
def test_torch_says_what_it_was_built_for(tmp_path: Path, cuda: str | None, hip: str | None, gpus: bool) -> None:
    a_torch(tmp_path, cuda, hip)
    assert ask("cpus", first=tmp_path)[1:] == [str(gpus), "[]"]
