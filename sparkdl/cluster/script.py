"""A Python file that runs on each rank as ``python train.py --epochs 3`` would run it there."""

from __future__ import annotations

import ast
import os
import sys
import tempfile
import types
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sparkdl.errors import SettingError


@dataclass(frozen=True)
class Script:
    """A file of the driver's, with the modules of its own folder that it imports; call it on a rank.

    Attributes
    ----------
    path : str
        Absolute, on the driver.
    name : str
        Its own place in `files`.
    files : mapping of str to bytes
        What is in it and in those modules, by their paths relative to its folder.
    """

    path: str
    name: str
    files: Mapping[str, bytes]

    def __call__(self, *arguments: str) -> None:
        """Run it as ``__main__``; `arguments` follow its path in ``sys.argv``. Leaving with the code 0 is success.

        It stands where the driver has it if this host has the same files there, so that it finds what lies beside them;
        else in a folder of its own below the working folder.
        """
        path = self.path if self._is_here() else self._write()
        sys.argv[:] = [path, *arguments]
        sys.path.insert(0, _folder_of(path))
        # Stays to the end of the process, as that of a program does: threads and exit functions look at it.
        main = types.ModuleType("__main__")
        main.__file__ = path
        sys.modules["__main__"] = main
        code = compile(self.files[self.name], path, "exec", dont_inherit=True)
        try:
            exec(code, main.__dict__)
        except SystemExit as leaving:
            if leaving.code not in (None, 0):
                raise

    def _is_here(self) -> bool:
        folder = Path(_folder_of(self.path))
        try:
            return os.path.isfile(self.path) and all(
                (folder / name).read_bytes() == content for name, content in self.files.items()
            )
        except OSError:
            return False

    def _write(self) -> str:
        folder = Path(tempfile.mkdtemp(prefix="script-", dir=os.getcwd()))
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return str(folder / self.name)


def read_script(main: str | os.PathLike[str]) -> Script:
    """Return the file at a path of this host.

    Raises
    ------
    SettingError
        If it is not there, cannot be read, or is no Python.
    """
    given = os.fspath(main)
    path = os.path.abspath(os.path.expanduser(given))
    if os.path.isdir(path):
        raise SettingError(f"invalid main={given!r}: {path} is a folder, expected a Python file in it (.py)")
    if not os.path.exists(path):
        raise SettingError(f"invalid main={given!r}: the driver has no file {path}, expected a Python file (.py)")
    if not path.endswith(".py"):
        raise SettingError(f"invalid main={given!r}: expected a Python file (.py), or a function")
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise SettingError(f"invalid main={given!r}: {path} cannot be read ({error.strerror})") from error
    try:
        with warnings.catch_warnings():
            # Where it runs it says them again.
            warnings.simplefilter("ignore")
            compile(content, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise SettingError(f"invalid main={given!r}: line {error.lineno} is no Python ({error.msg})") from error
    except ValueError as error:
        raise SettingError(f"invalid main={given!r}: expected a Python file ({error})") from error
    folder = Path(_folder_of(path))
    name = os.path.basename(os.path.realpath(path))
    return Script(path, name, {name: content, **_modules_beside(folder, content)})


def _folder_of(path: str) -> str:
    """The folder that Python would put first on ``sys.path``: where a link leads to."""
    return os.path.dirname(os.path.realpath(path))


def _modules_beside(folder: Path, content: bytes) -> dict[str, bytes]:
    """The modules and packages of a folder that some code imports, and what they import of it in turn."""
    found: dict[str, bytes] = {}
    todo = [content]
    seen: set[str] = set()
    while todo:
        for name in _imported(todo.pop()):
            if name in seen:
                continue
            seen.add(name)
            for file in [folder / f"{name}.py", *sorted((folder / name).rglob("*.py"))]:
                if file.is_file() and os.access(file, os.R_OK):
                    read = file.read_bytes()
                    found[str(file.relative_to(folder))] = read
                    todo.append(read)
    return found


def _imported(content: bytes) -> Iterator[str]:
    """Yield the first names of the modules that some code imports by name."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(content)
    except (SyntaxError, ValueError):
        # Perhaps it is never imported.
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            yield node.module.partition(".")[0]
