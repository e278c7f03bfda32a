"""A CUDA toolkit for the GPU wheel."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparkdl.commands import build_horovod_toolkit as toolkit
from sparkdl.commands.build_horovod_steps import BuildError, Log
from sparkdl.commands.build_horovod_tools import Pip, Torch


def local_toolkit(home: Path, release: str) -> Path:
    nvcc = home / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text(f"#!/bin/sh\necho 'Cuda compilation tools, release {release}, V{release}.1'\n")
    nvcc.chmod(0o755)
    (home / "include").mkdir()
    (home / "include" / "cuda_runtime.h").touch()
    return home


@pytest.fixture
def libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch's NVIDIA packages, as the package index has them."""
    nvidia = tmp_path / "site" / "nvidia"
    for path in ("nccl/include/nccl.h", "nccl/lib/libnccl.so.2", "cu13/include/cuda.h", "cu13/lib/libcudart.so.13"):
        (nvidia / path).parent.mkdir(parents=True, exist_ok=True)
        (nvidia / path).write_text(path)
    monkeypatch.setattr(toolkit, "_nvidia_folder", lambda: nvidia)
    monkeypatch.delenv("CUDA_PATH", raising=False)
    monkeypatch.delenv("HOROVOD_BUILD_CUDA_CC_LIST", raising=False)
    return nvidia


def test_a_local_toolkit_of_torchs_version_is_used(
    libraries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = local_toolkit(tmp_path / "cuda-12.8", "12.8")
    monkeypatch.setenv("CUDA_HOME", str(home))
    pip = Pip(("no-such-pip",), private=True)
    found = toolkit.nccl_environment(Torch("2.9.0+cu128", "12.8"), pip, tmp_path / "work", Log(tmp_path / "log"))
    assert found["CUDA_HOME"] == found["HOROVOD_CUDA_HOME"] == found["CUDAToolkit_ROOT"] == str(home)
    assert found["HOROVOD_GPU_OPERATIONS"] == "NCCL"
    assert found["HOROVOD_BUILD_CUDA_CC_LIST"].startswith("70,")
    nccl = Path(found["HOROVOD_NCCL_HOME"])
    assert (nccl / "include" / "nccl.h").read_text() == "nccl/include/nccl.h"
    assert (nccl / "lib" / "libnccl.so").read_text() == "nccl/lib/libnccl.so.2"


def test_a_local_toolkit_of_another_version_is_not(
    libraries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_HOME", str(local_toolkit(tmp_path / "cuda-11.0", "11.0")))
    pip = Pip(("no-such-pip",), private=True)
    with pytest.raises(BuildError, match=r"torch was built for CUDA 12\.8, whose compiler is not on the package index"):
        toolkit.nccl_environment(Torch("2.9.0+cu128", "12.8"), pip, tmp_path / "work", Log(tmp_path / "log"))
    # For CUDA 13 it is, and would be fetched.
    with pytest.raises(BuildError, match=r"nvidia-cuda-nvcc==13\.0\.\* .*no-such-pip cannot be started"):
        toolkit.nccl_environment(Torch("2.13.0+cu130", "13.0"), pip, tmp_path / "work", Log(tmp_path / "log"))


def test_torch_without_its_libraries_is_a_sentence(
    libraries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_HOME", raising=False)
    pip = Pip(("no-such-pip",), private=True)
    with pytest.raises(BuildError, match=r"torch's CUDA libraries are not in .*cu14"):
        toolkit.nccl_environment(Torch("3.0.0+cu140", "14.0"), pip, tmp_path / "work", Log(tmp_path / "log"))
    (libraries / "nccl" / "include" / "nccl.h").unlink()
    with pytest.raises(BuildError, match="NCCL's header is not in"):
        toolkit._nccl_home(tmp_path / "work")
