"""The command as a whole: what it says when something is missing, and a real build for GPUs (before a release)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sparkdl.commands.build_horovod import main
from sparkdl.commands.build_horovod_tools import probe_torch
from sparkdl.commands.build_horovod_wheel import key_of, store

ROOT = Path(__file__).resolve().parents[2]


def test_says_at_once_that_horovod_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = tmp_path / "cache"
    assert main(["--cache-dir", str(cache)]) == 0
    assert re.search(r"Horovod 0\.28\.1 for torch \S+ \(gloo\) is installed and works", capsys.readouterr().out)
    assert not cache.exists()


def test_names_torch_when_it_is_missing(tmp_path: Path) -> None:
    # -S leaves out site-packages, so this interpreter has nothing but the standard library and sparkdl.
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from sparkdl.commands.build_horovod import main; "
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"{program} sys.exit(main(['--cache-dir', {str(tmp_path)!r}]))"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 1
    assert "torch is not installed for" in done.stderr
    assert "install torch first" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_failed_start_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert main(["--force", "--cache-dir", str(tmp_path / "cache")]) == 1
    assert "a C++ compiler is needed" in capsys.readouterr().err
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_compiler_that_is_too_old_ends_it_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compiler = tmp_path / "g++-4"
    compiler.write_text("#!/bin/sh\necho \"g++-4: error: unrecognized command line option '$1'\" >&2; exit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    cache = tmp_path / "cache"
    assert main(["--force", "--cache-dir", str(cache)]) == 1
    out, err = capsys.readouterr()
    assert "fetch" not in out
    assert len(err.splitlines()) == 1
    assert "g++-4: error: unrecognized command line option '-std=c++" in err
    assert "choose a newer compiler by CXX and CC" in err
    log = Path(err.strip().rpartition(" the whole output is in ")[2])
    assert "-fsyntax-only" in log.read_text()
    assert [path.name for path in cache.iterdir()] == ["logs"]


def test_what_is_ended_from_outside_leaves_no_compiler_and_no_folder_behind(tmp_path: Path) -> None:
    compiler, pid, cache = tmp_path / "slow", tmp_path / "pid", tmp_path / "cache"
    compiler.write_text(f"#!/bin/sh\necho $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 600\n")
    compiler.chmod(0o755)
    command = [sys.executable, "-m", "sparkdl.commands.build_horovod", "--force", "--cache-dir", str(cache)]
    running = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "CXX": str(compiler)}, stderr=subprocess.PIPE)
    end = time.monotonic() + 300
    while not pid.exists() and running.poll() is None and time.monotonic() < end:
        time.sleep(0.1)
    running.terminate()
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert b"interrupted, nothing is left behind but the log" in said
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()
    assert [path.name for path in cache.iterdir()] == ["logs"]


def test_a_file_that_cannot_be_written_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = probe_torch()
    # Where the log should be there is a folder.
    (tmp_path / "cache" / "logs" / f"{key_of(torch, 'gloo')}.log").mkdir(parents=True)
    assert main(["--force", "--cache-dir", str(tmp_path / "cache")]) == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert f"{key_of(torch, 'gloo')}.log" in err


def test_a_kept_wheel_is_named_without_a_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = probe_torch()
    built = tmp_path / "horovod-0.28.1-py3-none-any.whl"
    built.write_bytes(b"wheel")
    kept = store(built, tmp_path / "cache", key_of(torch, "gloo"))
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert main(["--no-install", "--cache-dir", str(tmp_path / "cache")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"wheel: {kept}"


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["--force", "--cache-dir", str(tmp_path / "file" / "cache")]) == 1
    assert f"nothing can be written to {tmp_path}/file/cache: choose another folder" in capsys.readouterr().err


def fresh_environment(home: Path) -> Path:
    """Make an environment as uv makes them, without pip, with torch; return its Python."""
    uv = shutil.which("uv")
    assert uv is not None, "uv has to be on PATH, as in make test-release"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, home], check=True, timeout=120)
    python = home / "bin" / "python"
    command = [uv, "pip", "install", "--quiet", "--python", python, "-c", ROOT / "constraints.txt"]
    subprocess.run([*command, "torch", "numpy"], check=True, timeout=900)
    return python


def run_command(python: Path, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [python, "-m", "sparkdl.commands.build_horovod", *arguments],
        capture_output=True,
        text=True,
        timeout=5400,
        cwd=ROOT,
        env={**os.environ, **environment},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# tests/integration/test_install.py builds the wheel for CPUs, against the newest torch.
@pytest.mark.release
@pytest.mark.timeout(6000)
def test_builds_for_nccl_without_gpu_toolkit_and_pip_and_keeps_the_wheel(tmp_path: Path) -> None:
    python = fresh_environment(tmp_path / "env")
    cache = tmp_path / "cache"
    said = run_command(python, "--nccl", "--cache-dir", str(cache))
    assert "make a private pip" in said
    assert "(nccl) is installed and works" in said
    assert [p.name for p in cache.iterdir() if p.name.startswith("build-")] == []
    program = "import horovod.torch as hvd; hvd.init(); print(hvd.nccl_built() > 0, hvd.cuda_built(), hvd.size())"
    done = subprocess.run(
        [python, "-c", program], capture_output=True, text=True, timeout=120, cwd=tmp_path, check=True
    )
    assert done.stdout.split() == ["True", "True", "1"]
    # The compiler was lent to the build, the environment does not have it.
    assert not list((tmp_path / "env").glob("lib/python*/site-packages/nvidia_cuda_nvcc*"))

    subprocess.run(["uv", "pip", "uninstall", "--quiet", "--python", python, "horovod"], check=True, timeout=120)
    said = run_command(python, "--nccl", "--cache-dir", str(cache))
    assert "a wheel is kept" in said
    assert "fetch the source" not in said
    assert "(nccl) is installed and works" in said
    assert "- install it" not in run_command(python, "--nccl", "--cache-dir", str(cache))
