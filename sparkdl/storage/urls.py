"""Files and folders behind a URL: local paths by the operating system, everything else by fsspec.

A URL is a plain path, `file:` or anything that an installed fsspec file system knows (`hdfs://`, `s3://`, ...). With
one slash it is what Hadoop takes it for: `hdfs:/x` lies on the default name node, `dbfs:/x` where Databricks mounts it.
Options are the user's storage options; they are handed to fsspec and to nobody else.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from sparkdl.errors import ClusterError

# A file appears there only when it is closed, and renaming means copying.
_OBJECT_STORES = frozenset({"s3", "s3a", "s3n", "gs", "gcs", "az", "abfs", "abfss", "wasb", "wasbs", "oss", "oci"})

Options = Mapping[str, Any]

PACKAGES = {
    "s3": ("s3fs", "s3fs"),
    "s3a": ("s3fs", "s3fs"),
    "gs": ("gcsfs", "gcsfs"),
    "gcs": ("gcsfs", "gcsfs"),
    "abfs": ("adlfs", "adlfs"),
    "abfss": ("adlfs", "adlfs"),
    "az": ("adlfs", "adlfs"),
    "hdfs": ("hdfs_native", "hdfs-native"),
    "oss": ("ossfs", "ossfs"),
    "oci": ("ocifs", "ocifs"),
}
"""By scheme: the module that opens it, and the package that brings the module."""


MOUNTS = ("/dbfs", "/Volumes")
"""Where hosts of Databricks mount DBFS and the volumes of Unity Catalog."""

_HADOOP = ("hdfs", "webhdfs")
"""Schemes of which Hadoop's settings name the host, where the URL does not."""


def plain(url: str) -> str:
    """Return a URL in the form that file systems know: `dbfs:/x` as its mounted path, `hdfs:/x` as `hdfs:///x`."""
    head, mark, path = url.partition(":/")
    if not mark or (path.startswith("/") and not path.startswith("//")):
        return url
    name, path = head.lower(), "/" + path.lstrip("/")
    if name == "dbfs":
        return path if f"{path}/".startswith("/Volumes/") else f"/dbfs{path}"
    return f"{name}://{path}" if name in _HADOOP else url


def mount(url: str) -> str | None:
    """Return the mount of Databricks in which a URL or a path lies, None for any other."""
    path = plain(url)
    return next((each for each in MOUNTS if f"{path}/".startswith(f"{each}/")), None)


def scheme(url: str) -> str:
    """Return the scheme of `url` in lower case; "file" for a plain path."""
    head, mark, _ = plain(url).partition("://")
    return head.lower() if mark and head.replace("+", "").isalnum() else "file"


def is_local(url: str) -> bool:
    """Whether `url` is a path of this host's own file system tree (which may be a shared mount)."""
    return scheme(url) == "file"


def local_path(url: str) -> str:
    """Return the path that a local `url` stands for."""
    url = plain(url)
    if not url.lower().startswith("file:"):
        return os.path.abspath(os.path.expanduser(url))
    return unquote(urlsplit(url).path)


def join(url: str, *names: str) -> str:
    """Return the URL of a file or folder below `url`."""
    return "/".join([url.rstrip("/"), *names])


def file_system(url: str, options: Options | None = None) -> tuple[Any, str]:
    """Return fsspec's file system for `url`, and the path in it.

    Raises
    ------
    ClusterError
        The package that opens this scheme is not installed.
    """
    import fsspec

    try:
        fs, path = fsspec.core.url_to_fs(plain(url), **dict(options or {}))
    except TypeError as error:
        # What its constructor cannot do without is in no URL: a host and a token of Databricks, say.
        missing = str(error).partition("__init__() ")[2] or str(error)
        raise ClusterError(f"{scheme(url)}:// cannot be opened with these storageOptions: {missing}") from error
    except (ImportError, ValueError) as error:
        if isinstance(error, ValueError) and "Protocol not known" not in str(error):
            raise
        raise ClusterError(lacking(url)) from error
    return fs, str(path)


def lacking(url: str) -> str:
    """Return what to say where no package opens a URL."""
    _, package = PACKAGES.get(scheme(url), ("", "the fsspec package for it"))
    return f"no package of this Python opens {scheme(url)}://, pip install {package} on the driver and the executors"


def exists(url: str, options: Options | None = None) -> bool:
    """Whether there is a file or folder."""
    if is_local(url):
        return os.path.exists(local_path(url))
    fs, path = file_system(url, options)
    return bool(fs.exists(path))


def size(url: str, options: Options | None = None) -> int:
    """Return the bytes of a file; FileNotFoundError if there is none."""
    if is_local(url):
        return os.path.getsize(local_path(url))
    fs, path = file_system(url, options)
    return int(fs.size(path))


def list_folder(url: str, options: Options | None = None) -> list[tuple[str, int]]:
    """Return name and bytes of what lies in a folder, by name; nothing where there is no folder."""
    if is_local(url):
        folder, found = local_path(url), []
        with suppress(FileNotFoundError):
            for name in os.listdir(folder):
                # Others may remove what they have put there.
                with suppress(FileNotFoundError):
                    found.append((name, os.stat(os.path.join(folder, name)).st_size))
        return sorted(found)
    fs, path = file_system(url, options)
    # fsspec keeps listings, and others write here too.
    fs.invalidate_cache()
    try:
        details = fs.ls(path, detail=True)
    except FileNotFoundError:
        return []
    inside = [(str(entry["name"]).rstrip("/"), int(entry["size"] or 0)) for entry in details]
    # Object stores list a folder's own marker with what is in it.
    return sorted((name.rpartition("/")[2], size) for name, size in inside if name != path.rstrip("/"))


def list_files(url: str, options: Options | None = None) -> list[tuple[str, int]]:
    """Return the files at any depth below a folder, (path relative to it, bytes), sorted; none if it is not there."""
    if is_local(url):
        root = local_path(url)
        found = []
        for folder, _, names in os.walk(root, followlinks=True):
            paths = [os.path.join(folder, name) for name in names]
            found += [(os.path.relpath(path, root).replace(os.sep, "/"), os.path.getsize(path)) for path in paths]
        return sorted(found)
    fs, path = file_system(url, options)
    # A listing that was kept from before would not have what Spark has written since.
    fs.invalidate_cache(path)
    base = path.strip("/") + "/"
    entries = fs.find(path, detail=True)
    return sorted((name.strip("/").removeprefix(base), int(info["size"])) for name, info in entries.items())


def is_file(url: str, options: Options | None = None) -> bool:
    """Whether there is a file, not a folder."""
    if is_local(url):
        return os.path.isfile(local_path(url))
    fs, path = file_system(url, options)
    return bool(fs.isfile(path))


def make_folder(url: str, options: Options | None = None, *, private: bool = False) -> None:
    """Make a folder and those above it; a private one is for this user only, where the file system knows users."""
    if is_local(url):
        path = local_path(url)
        os.makedirs(os.path.dirname(path) or "/", exist_ok=True)
        with suppress(FileExistsError):
            os.mkdir(path, 0o700 if private else 0o777)
        return
    fs, path = file_system(url, options)
    fs.makedirs(path, exist_ok=True)


def remove(url: str, options: Options | None = None) -> None:
    """Remove a file, or a folder with all that is in it; nothing happens where there is none."""
    if is_local(url):
        path = local_path(url)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            with suppress(FileNotFoundError):
                os.remove(path)
        return
    fs, path = file_system(url, options)
    with suppress(FileNotFoundError):
        fs.rm(path, recursive=True)


def rename(source: str, target: str, options: Options | None = None) -> None:
    """Give a file another name on the same file system, in the place of what had it."""
    if is_local(source):
        os.replace(local_path(source), local_path(target))
        return
    fs, source_path = file_system(source, options)
    _, target_path = file_system(target, options)
    try:
        fs.mv(source_path, target_path)
    except FileExistsError:
        # HDFS puts a file in the place of another only when it is told to.
        fs.mv(source_path, target_path, overwrite=True)


def open_read(url: str, options: Options | None = None) -> IO[bytes]:
    """Open a file for reading bytes."""
    if is_local(url):
        return open(local_path(url), "rb")
    fs, path = file_system(url, options)
    stream: IO[bytes] = fs.open(path, "rb")
    return stream


@contextmanager
def write_atomic(url: str, options: Options | None = None) -> Iterator[IO[bytes]]:
    """Open a file for writing bytes; it gets its name only when the block ends without an exception."""
    if scheme(url) in _OBJECT_STORES:
        with _object(url, options) as stream:
            yield stream
        return
    part = f"{url}.{uuid.uuid4().hex}.part"
    try:
        if is_local(url):
            with open(local_path(part), "wb") as stream:
                yield stream
        else:
            fs, path = file_system(part, options)
            with fs.open(path, "wb") as stream:
                yield stream
        rename(part, url, options)
    except BaseException:
        with suppress(OSError):
            remove(part, options)
        raise


def put_file(path: str | os.PathLike[str], url: str, options: Options | None = None) -> None:
    """Copy a local file to `url`, in the place of what is there."""
    with open(path, "rb") as source, write_atomic(url, options) as target:
        shutil.copyfileobj(source, target)


@contextmanager
def _object(url: str, options: Options | None) -> Iterator[IO[bytes]]:
    fs, path = file_system(url, options)
    stream = fs.open(path, "wb")
    try:
        yield stream
    except BaseException:
        discard = getattr(stream, "discard", None)
        with suppress(Exception):
            if discard is not None:
                discard()
            # Closing would upload what is there: a file that is not whole.
            stream.closed = True
        raise
    stream.close()
