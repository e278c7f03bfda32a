from __future__ import annotations

import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from sparkdl.errors import SettingError
from sparkdl.preflight.backend import Chosen, check_backend, choose_backend
from sparkdl.spark.facts import SessionFacts

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
from sparkdl.errors import SettingError
from sparkdl.preflight.backend import choose_backend
for wanted, ranks, gpus in (("auto", 4, True), ("auto", 4, False), ("auto", 1, True), ("torch", 4, True)):
    print(choose_backend(None, wanted, ranks, gpus=gpus))
try:
    choose_backend(None, "horovod", 4, gpus=True)
except SettingError as error:
    print(error)
"""


def test_auto_is_horovod_where_the_driver_has_it(spark) -> None:
    assert choose_backend(SessionFacts.read(spark), "auto", 2) == Chosen("horovod")
    assert choose_backend(SessionFacts.read(spark), "horovod", 2) == Chosen("horovod")


def test_what_is_wanted_is_taken_and_one_rank_needs_none(spark) -> None:
    assert choose_backend(SessionFacts.read(spark), "torch", 2) == Chosen("torch")
    for wanted in ("auto", "horovod", "torch", "local"):
        assert choose_backend(SessionFacts.read(spark), wanted, 1) == Chosen("local")


def test_another_name_is_refused(spark) -> None:
    with pytest.raises(SettingError, match="invalid backend='mpi': expected 'horovod', 'torch' or 'local'"):
        check_backend(SessionFacts.read(spark), "mpi", 2, gpus=False, remedy="")


def test_a_horovod_without_nccl_is_none_for_gpus(tmp_path: Path) -> None:
    (tmp_path / "horovod" / "torch").mkdir(parents=True)
    (tmp_path / "horovod" / "__init__.py").touch()
    (tmp_path / "horovod" / "torch" / f"mpi_lib_v2{EXTENSION_SUFFIXES[0]}").write_bytes(b"for CPUs")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    found = "the Horovod in the driver's Python was built without NCCL, which GPUs need"
    assert done.stdout.splitlines() == [
        str(
            Chosen(
                "torch",
                f"{found}, so the 4 ranks talk by torch.distributed: to get Horovod, run sparkdl-build-horovod --nccl",
            )
        ),
        "Chosen(name='horovod', notice='')",
        "Chosen(name='local', notice='')",
        "Chosen(name='torch', notice='')",
        f"invalid backend='horovod': {found}: run sparkdl-build-horovod --nccl, or set backend='torch' "
        "or leave backend='auto'",
    ], done.stderr
