"""The file of a segment of shared memory: it has a name only until all ranks of the host have opened it."""

from __future__ import annotations

import mmap
import os

SEGMENT = "SPARKDL_SEGMENT"
"""Variable that names the segment of a rank's host; set on all ranks of a job or on none."""

_FOLDER = "/dev/shm"


def mapped(name: str, size: int, *, create: bool) -> mmap.mmap:
    """Return a segment of `size` bytes, a new one of zeros or that of another rank.

    Raises
    ------
    OSError
        There is one already, or none, or it is another user's; or there is no memory for it.
    """
    path = os.path.join(_FOLDER, name)
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT | os.O_EXCL if create else 0)
    descriptor = os.open(path, flags, 0o600)
    try:
        if create:
            # Without it, memory that is not there ends the process by SIGBUS at the first write.
            os.posix_fallocate(descriptor, 0, size)
        about = os.fstat(descriptor)
        if about.st_uid != os.geteuid() or about.st_size != size:
            raise PermissionError(f"{path} is not the segment of this job")
        return mmap.mmap(descriptor, size)
    except BaseException:
        if create:
            os.unlink(path)
        raise
    finally:
        os.close(descriptor)


def has_room(size: int) -> bool:
    """Return whether there is memory for a segment of so many bytes."""
    try:
        about = os.statvfs(_FOLDER)
    except OSError:
        return False
    return about.f_bavail * about.f_frsize >= size


def remove(name: str) -> None:
    """Remove the file of a segment, if it is still there; who has it open keeps the memory."""
    try:
        os.unlink(os.path.join(_FOLDER, name))
    except FileNotFoundError:
        return
