"""A file of the user's: what is sent of it, and how it runs where it is and where it is not."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sparkdl.cluster.script import read_script
from sparkdl.errors import SettingError

ROOT = Path(__file__).resolve().parents[2]
MAIN = """\
\"\"\"A program.\"\"\"
import os, pickle, sys
from pathlib import Path
import layers
from net.parts import width


class Own:
    pass


if __name__ == "__main__":
    beside = Path(__file__).with_name("config.txt")
    print(sys.argv[1:], sys.argv[0] == __file__, sys.path[0] == os.path.dirname(os.path.realpath(__file__)))
    print(layers.depth, width, beside.exists(), __doc__)
    # As in any program, its classes are found again in __main__.
    print(type(pickle.loads(pickle.dumps(Own()))) is Own)
    sys.exit(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
"""
RUN = """
import pickle, sys
script = pickle.loads(sys.stdin.buffer.read())
try:
    print(script(*sys.argv[1:]))
except SystemExit as leaving:
    print("left with", leaving.code)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a program, what it imports and what it does not."""
    folder = tmp_path / "project"
    (folder / "net" / "deep").mkdir(parents=True)
    (folder / "train.py").write_text(MAIN)
    (folder / "layers.py").write_text("from helper import depth\n")
    (folder / "helper.py").write_text("depth = 3\n")
    (folder / "unused.py").write_text("raise AssertionError\n")
    (folder / "config.txt").write_text("x")
    (folder / "net" / "__init__.py").touch()
    (folder / "net" / "parts.py").write_text("from .deep.sizes import width\n")
    (folder / "net" / "deep" / "sizes.py").write_text("width = 7\n")
    return folder


def run(pickled: bytes, folder: Path, *arguments: str) -> list[str]:
    """Run a script as a rank does, in a process of its own with an empty working folder."""
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        input=pickled,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().splitlines()


def test_what_it_imports_of_its_folder_is_sent_with_it(project: Path) -> None:
    script = read_script(project / "train.py")
    assert sorted(script.files) == [
        "helper.py",
        "layers.py",
        "net/__init__.py",
        "net/deep/sizes.py",
        "net/parts.py",
        "train.py",
    ]


def test_it_runs_in_its_folder_where_that_is_there(project: Path, tmp_path: Path) -> None:
    pickled = pickle.dumps(read_script(project / "train.py"))
    said = run(pickled, tmp_path / "work", "--epochs", "0")
    assert said == ["['--epochs', '0'] True True", "3 7 True A program.", "True", "None"]
    assert list((tmp_path / "work").iterdir()) == []


def test_it_runs_from_a_copy_where_it_is_not_or_has_changed(project: Path, tmp_path: Path) -> None:
    pickled = pickle.dumps(read_script(project / "train.py"))
    expected = ["['a b'] True True", "3 7 False A program.", "True", "None"]
    (project / "helper.py").write_text("depth = 4\n")
    assert run(pickled, tmp_path / "changed", "a b") == expected
    shutil.rmtree(project)
    assert run(pickled, tmp_path / "gone", "a b") == expected


def test_a_link_stands_for_the_file_it_leads_to(project: Path, tmp_path: Path) -> None:
    (tmp_path / "link.py").symlink_to(project / "train.py")
    said = run(pickle.dumps(read_script(tmp_path / "link.py")), tmp_path / "work")
    assert said[:1] == ["[] True True"]


def test_another_code_than_0_is_an_error(project: Path, tmp_path: Path) -> None:
    said = run(pickle.dumps(read_script(project / "train.py")), tmp_path / "work", "--code", "3")
    assert said[-1] == "left with 3"


def test_the_path_may_be_relative_to_the_working_folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    assert read_script("train.py").path == str(project / "train.py")
    monkeypatch.setenv("HOME", str(project))
    assert read_script("~/train.py").path == str(project / "train.py")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.py", None, "invalid main='.*none.py': the driver has no file .*none.py, expected a Python file"),
        ("folder.py/", None, "invalid main='.*folder.py/': .*folder.py is a folder, expected a Python file in it"),
        ("run.sh", b"echo", r"invalid main='.*run.sh': expected a Python file \(.py\), or a function"),
        ("bad.py", b"x = 1\nif\n", r"invalid main='.*bad.py': line 2 is no Python \(invalid syntax\)"),
        ("zero.py", b"x\0", "invalid main='.*zero.py': .*null bytes"),
        ("latin.py", b"x = '\xe4'\n", "invalid main='.*latin.py': .*(encoding|utf-8)"),
    ],
)
def test_what_is_no_program_is_one_sentence(tmp_path: Path, name: str, content: bytes | None, sentence: str) -> None:
    if name.endswith("/"):
        (tmp_path / name).mkdir()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SettingError, match=sentence) as caught:
        read_script(os.path.join(tmp_path, name))
    assert "\n" not in str(caught.value)
