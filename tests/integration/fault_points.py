"""Every point at which a rank can fail: its files, its messages, its collective calls. One of them fails, once."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparkdl.cluster.rpc import Channel
from sparkdl.comm.horovod import HorovodBackend
from sparkdl.train import Callback

ROOT = str(Path(__file__).resolve().parents[2])
FILES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.listdir", "os.scandir", "shutil.rmtree")
FOREIGN = (sys.prefix, sys.base_prefix, ROOT, "/proc", "/sys", "/etc", "/usr", "/dev", "/lib")


@dataclass(frozen=True)
class Point:
    """The n-th event of a kind on a rank, and what happens there: "raise" or "kill"."""

    rank: int
    event: str
    number: int
    how: str = ""


class Points(Callback):
    """Counts the points of a rank, from where it unpickles its arguments to its end; at one of them, it fails.

    Parameters
    ----------
    folder : str
        Of the notes, and of the marker by which a point fails once.
    point : Point or None
    """

    def __init__(self, folder: str, point: Point | None) -> None:
        self.folder, self.point = folder, point

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # The driver copies callbacks too.
        if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
            _Counting(self.folder, self.point).install()


class _Counting:
    def __init__(self, folder: str, point: Point | None) -> None:
        self.rank = int(os.environ["RANK"])
        self.folder = folder
        self.point = point if point is not None and point.rank == self.rank else None
        self.counts: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.mine = threading.local()
        self.log = os.open(f"{folder}/points-{self.rank}-{os.getpid()}", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def install(self) -> None:
        sys.addaudithook(self.on_audit)
        for owner, names in ((Channel, ("send",)), (HorovodBackend, ("all_reduce", "broadcast", "barrier"))):
            for name in names:
                setattr(owner, name, self.counted(name, getattr(owner, name)))

    def counted(self, name: str, function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            self.hit(name, type(arguments[-1]).__name__)
            return function(*arguments)

        return call

    def on_audit(self, name: str, arguments: tuple[Any, ...]) -> None:
        if name != "open" and name not in FILES and name not in ("socket.connect", "socket.bind", "subprocess.Popen"):
            return
        if getattr(self.mine, "busy", False):
            return
        if not name.startswith("s") or name == "shutil.rmtree":
            path = os.fsdecode(arguments[0]) if isinstance(arguments[0], (str, bytes, os.PathLike)) else ""
            if not path or path.startswith(FOREIGN):
                return
            if name == "open":
                name = "create" if (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else "open"
            self.hit(name, path)
        else:
            self.hit(name, str(arguments[1:]))

    def hit(self, name: str, what: str) -> None:
        if what == "Heartbeat":
            return
        with self.lock:
            self.counts[name] += 1
            number = self.counts[name]
        os.write(self.log, f"{name}\t{number}\t{what}\n".encode())
        point = self.point
        if point is None or (point.event, point.number) != (name, number):
            return
        self.mine.busy = True
        try:
            os.close(os.open(f"{self.folder}/failed", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        finally:
            self.mine.busy = False
        if point.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(errno.EIO, f"{os.strerror(errno.EIO)} (injected)")


def points_in(folder: Path) -> list[Point]:
    """All points that a fit has come by, in an order that does not depend on chance."""
    found = set()
    for path in folder.glob("points-*"):
        rank = int(path.name.split("-")[1])
        for line in path.read_text().splitlines():
            event, number, _ = line.split("\t", 2)
            found.add(Point(rank, event, int(number)))
    return sorted(found, key=lambda point: (point.rank, point.event, point.number))
