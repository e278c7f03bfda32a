"""Petastorm 0.12.1 and 0.13.1 on today's pyarrow, numpy and Python.

Petastorm asks for names that are gone: ``pyarrow.filesystem``, ``pyarrow.hdfs`` and the old Parquet datasets
(pyarrow 15), ``numpy.unicode_`` and ``numpy.string_`` (numpy 2), ``distutils`` (Python 3.12). `apply` puts an
import hook in place that acts on the modules of Petastorm alone: each is executed with an ``import`` of its
own, which hands out views of those packages with the missing names added. pyarrow, numpy and ``sys.modules``
stay as they are for everybody else. It also mends the thread pool, which could end an epoch before it began, and whose
threads looked for work a thousand times a second while there was none.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import re
import runpy
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache, total_ordering
from types import ModuleType
from typing import Any

from sparkdl.data.readers.petastorm import compat_arrow as legacy

_lock = threading.Lock()
_THREAD_POOL = "petastorm.workers_pool.thread_pool"
_NEW_PROCESS = "petastorm.workers_pool.exec_in_new_process"

_LOOK_SECONDS = 0.05
"""Between two looks of an idle thread of the pool at whether it is to stop; work wakes it at once."""


def apply() -> None:
    """Make Petastorm importable and correct in this process; call it before the first import of Petastorm.

    Any thread may call it, any number of times. Modules of Petastorm that are loaded already are mended in
    place. It imports nothing of Petastorm itself.
    """
    with _lock:
        if any(isinstance(finder, _Finder) for finder in sys.meta_path):
            return
        sys.meta_path.insert(0, _Finder())
        for name, module in list(sys.modules.items()):
            if _is_petastorm(name):
                _rebind(module)
                _mend(module)


def on_executors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` so that unpickling it in another process calls `apply` first.

    A function that uses Petastorm is pickled with references into Petastorm, so a Spark worker would import
    Petastorm before the function's own code could call `apply`.
    """
    return _OnExecutors(function)


class _OnExecutors:
    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[bytes]]:
        import cloudpickle

        return _unpickle_applied, (cloudpickle.dumps(self._function),)


def _unpickle_applied(pickled: bytes) -> _OnExecutors:
    import cloudpickle

    apply()
    return _OnExecutors(cloudpickle.loads(pickled))


@total_ordering
class LooseVersion:
    """``distutils.version.LooseVersion`` as far as Petastorm needs it: the leading numbers are compared."""

    def __init__(self, text: str) -> None:
        self.version = tuple(int(part) for part in re.findall(r"\d+", re.split(r"[^\d.]", text)[0]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LooseVersion) and self.version == other.version

    def __lt__(self, other: LooseVersion) -> bool:
        return self.version < other.version

    def __hash__(self) -> int:
        return hash(self.version)


class _View(ModuleType):
    """A package as Petastorm sees it: its own names, and those that it no longer has."""

    def __init__(self, name: str, real: ModuleType | None, added: Mapping[str, Any]) -> None:
        super().__init__(name)
        self.__dict__.update(added)
        self.__dict__["_real"] = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_real"], name)

    def __reduce__(self) -> tuple[Callable[[str], ModuleType], tuple[str]]:
        # Functions of Petastorm that go to executors by value take the modules they use with them.
        return _view, (self.__name__,)


def _view(name: str) -> ModuleType:
    return _views().get(name) or importlib.import_module(name)


@cache
def _views() -> dict[str, _View]:
    """Return the packages that this environment must show to Petastorm differently, by name."""
    views: list[_View] = []
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not hasattr(np, "unicode_"):
        views.append(_View("numpy", np, {"unicode_": np.str_, "string_": np.bytes_, "float": float}))
    if not hasattr(pq, "ParquetDatasetPiece"):
        parquet = _View(
            "pyarrow.parquet",
            pq,
            {"ParquetDataset": legacy.ParquetDataset, "ParquetDatasetPiece": legacy.ParquetDatasetPiece},
        )
        filesystem = _View("pyarrow.filesystem", None, {"LocalFileSystem": legacy.LocalFileSystem})
        hdfs_names = {"HadoopFileSystem": legacy.HadoopFileSystem, "connect": legacy.HadoopFileSystem}
        hdfs = _View("pyarrow.hdfs", None, hdfs_names)
        added = {
            "parquet": parquet,
            "filesystem": filesystem,
            "hdfs": hdfs,
            "LocalFileSystem": legacy.LocalFileSystem,
            "localfs": legacy.LocalFileSystem(),
        }
        views += [_View("pyarrow", pa, added), parquet, filesystem, hdfs]
    if sys.version_info >= (3, 12):
        version = _View("distutils.version", None, {"LooseVersion": LooseVersion})
        views += [version, _View("distutils", None, {"version": version})]
    return {view.__name__: view for view in views}


def _import(
    name: str,
    globals: Mapping[str, object] | None = None,
    locals: Mapping[str, object] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """Take the place of ``__import__`` in Petastorm's modules."""
    views = _views() if level == 0 else {}
    top = name.partition(".")[0]
    if name in views:
        return views[name if fromlist else top]
    module = builtins.__import__(name, globals, locals, fromlist or (), level)
    return views.get(top, module) if not fromlist else module


class _Finder(importlib.abc.MetaPathFinder):
    """Finds Petastorm's modules where Python finds them, and loads them with `_Loader`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if not _is_petastorm(fullname):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        # runpy and inspect ask loaders for more than the two methods below.
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)  # type: ignore[no-any-return]

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _import}
        self._loader.exec_module(module)
        _mend(module)


def _is_petastorm(name: str) -> bool:
    return name.partition(".")[0] == "petastorm"


def _rebind(module: ModuleType) -> None:
    """Show a module that was loaded before the hook what it would have imported after it."""
    for name, value in list(vars(module).items()):
        if isinstance(value, ModuleType) and value.__name__ in _views():
            setattr(module, name, _views()[value.__name__])


def _mend(module: ModuleType) -> None:
    if module.__name__ == _THREAD_POOL:
        _mend_end_of_epoch(module)
        module.__dict__["IO_TIMEOUT_INTERVAL_S"] = _LOOK_SECONDS
    elif module.__name__ == _NEW_PROCESS:
        module.__dict__["subprocess"] = _View("subprocess", subprocess, {"Popen": _popen_applied})


def _mend_end_of_epoch(module: ModuleType) -> None:
    """Make the thread pool end an epoch only when all that was to be read has been read.

    ``get_results`` asks whether all work that was handed out is done, and then whether handing out is over.
    Where all of it is handed out between the two questions, it drops the epoch. Asked again once handing out
    is over, the first question has the right answer. In 0.13.1 the window is wide: it lost 6 epochs in 100.
    """
    pool, empty = module.ThreadPool, module.EmptyResultError
    original = pool.get_results

    def get_results(self: Any) -> Any:
        while True:
            try:
                return original(self)
            except empty:
                if _all_done(self):
                    raise

    pool.get_results = get_results


def _all_done(pool: Any) -> bool:
    if pool._stop_event.is_set():
        return True
    if hasattr(pool, "all_workers_done"):
        return bool(pool.all_workers_done())
    return bool(pool._results_queue.empty() and pool._ventilated_items == pool._ventilated_items_processed)


def _popen_applied(args: Sequence[str], **kwargs: Any) -> subprocess.Popen[Any]:
    """Start a process of Petastorm's process pool through this module, so that `apply` comes first."""
    executable, dash_m, module, *rest = args
    return subprocess.Popen([executable, dash_m, __name__, module, *rest], **kwargs)


if __name__ == "__main__":
    importlib.import_module("sparkdl.data.readers.petastorm.compat").apply()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
