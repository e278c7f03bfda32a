"""Rows that are kept for later fits below one folder: found by what they hold, whole or not there, gone when old.

Each entry is a folder of its own, ``sparkdl-rows-<key>-<random>``. The key is a hash of what was asked for (fields,
packing, how rows are split and filled), never of the plan of a DataFrame. In it lie the files of packed rows, a lease
for each fit that writes or reads them, and `MANIFEST`, written last: an entry without it is not whole, and nobody reads
it. `MANIFEST` holds the number of rows and an order-free checksum of them, so that the same rows are found again in
whatever order and partitions they come.

Two programs that write the same rows at once write two entries; neither waits for the other. Nothing here knows Spark:
on a cluster these functions run in a task, because only tasks are sure to have the file system and its credentials.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sparkdl.data.format.row_layout import PACKING_VERSION
from sparkdl.storage import leases, urls

KEEP_SECONDS = 7 * 86_400.0
"""Entries that nobody has used for so long are removed by the next fit with the same cacheUrl."""

MANIFEST = "manifest.json"
_USED = "used.json"
_FOUND = "found-empty"
_TRIES = 5
_LONGEST = 1 << 28
"""Bytes of a manifest: those of a million files."""
_PREFIX = "sparkdl-rows-"

Options = Mapping[str, Any] | None


def key_of(wanted: Mapping[str, Any]) -> str:
    """Return the key of what is asked for, given as JSON values: 16 hexadecimal digits."""
    text = json.dumps({"packingVersion": PACKING_VERSION, **wanted}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def new_entry(key: str) -> str:
    """Return a name that no other entry has."""
    return f"{_PREFIX}{key}-{uuid.uuid4().hex}"


def look(base: str, key: str, options: Options = None) -> list[str]:
    """Remove what has expired; return the entries of a key that look whole."""
    clear(base, KEEP_SECONDS, options)
    names = [name for name, _ in urls.list_folder(base, options) if name.startswith(f"{_PREFIX}{key}-")]
    return [name for name in names if urls.exists(urls.join(base, name, MANIFEST), options)]


def begin(base: str, name: str, holder: str, options: Options = None) -> None:
    """Make the private folder of a new entry, and take a lease on it."""
    folder = urls.join(base, name)
    urls.make_folder(folder, options, private=True)
    leases.hold(folder, holder, options)


def publish(base: str, name: str, content: Mapping[str, Any], options: Options = None) -> None:
    """Write the manifest: from here on the entry is whole."""
    with urls.write_atomic(urls.join(base, name, MANIFEST), options) as stream:
        stream.write(json.dumps(content).encode())


def take(base: str, name: str, checksum: str, holder: str, options: Options = None) -> dict[str, Any] | None:
    """Take a lease on an entry of these rows and return its manifest; None if it holds others or is not whole."""
    folder = urls.join(base, name)
    content = _read(urls.join(folder, MANIFEST), options)
    if content is None or content.get("checksum") != checksum:
        return None
    files = content.get("files")
    if not isinstance(files, dict):
        return None
    try:
        leases.hold(folder, holder, options)
    except FileNotFoundError:
        return None
    # Looked for after the lease is there: a clean-up takes the manifest first, and then looks for leases.
    sizes = dict(urls.list_folder(folder, options))
    if MANIFEST in sizes and all(sizes.get(path) == size for path, size in files.items()):
        return content
    leases.release(folder, holder, options)
    return None


def leave(base: str, name: str, holder: str, options: Options = None) -> None:
    """Give the lease back; the entry is kept for `KEEP_SECONDS` from now."""
    folder = urls.join(base, name)
    # One that was not there to be taken may be gone by now.
    with suppress(FileNotFoundError):
        with urls.write_atomic(urls.join(folder, _USED), options) as stream:
            stream.write(json.dumps({"at": time.time()}).encode())
    leases.release(folder, holder, options)


def discard(base: str, name: str, holder: str, options: Options = None) -> None:
    """Give the lease back, and remove the entry unless somebody else has one."""
    leave(base, name, holder, options)
    if _withdrawn(base, name, options):
        drop(base, name, options)


def drop(base: str, name: str, options: Options = None) -> None:
    """Remove an entry, its manifest first, so that no half of it is taken for whole."""
    folder = urls.join(base, name)
    urls.remove(urls.join(folder, MANIFEST), options)
    for left in reversed(range(_TRIES)):
        try:
            urls.remove(folder, options)
            break
        except OSError:
            # Who wants to take the entry in this moment puts a lease into it, and takes it out again.
            if not left:
                raise
            time.sleep(0.05)


def clear(base: str, older_than: float, options: Options = None) -> list[str]:
    """Remove the entries that nobody has a lease on and nobody has used for so many seconds; return their names.

    Entries that are not whole, left by a writer that died, go as soon as their lease has ended.
    """
    removed = []
    for name, _ in urls.list_folder(base, options):
        if not name.startswith(_PREFIX):
            continue
        # Another program may remove the same at the same time. What is left now goes the next time.
        with suppress(OSError):
            if _expired(urls.join(base, name), older_than, options) and _withdrawn(base, name, options):
                drop(base, name, options)
                removed.append(name)
    return removed


def clear_cache(url: str, older_than: float = 0.0, *, storage_options: Mapping[str, Any] | None = None) -> list[str]:
    """Remove kept rows below a `cacheUrl` that no fit is using; from a program that can open that folder.

    Parameters
    ----------
    url : str
        As given to `cacheUrl`.
    older_than : float
        Seconds since their last use; 0: all of them.
    storage_options : mapping, optional
        For the file system, as `storageOptions`.

    Returns
    -------
    list of str
        Names of the folders that were removed.
    """
    return clear(urls.local_path(url) if urls.is_local(url) else url, older_than, storage_options)


def _expired(folder: str, older_than: float, options: Options) -> bool:
    now = time.time()
    ends = leases.ends(folder, options)
    whole = urls.exists(urls.join(folder, MANIFEST), options)
    until = _last(ends, whole)
    if until > now:
        return False
    if not whole:
        if until > 0 or any(not leases.is_lease(name) for name, _ in urls.list_folder(folder, options)):
            return True
        # One that is being made holds nothing until it has its lease, and one whose maker has died then never will.
        leases.hold(folder, _FOUND, options)
        return False
    used = _read(urls.join(folder, _USED), options)
    at = None if used is None else used.get("at")
    last = max(until - leases.SECONDS, float(at) if isinstance(at, int | float) else 0.0)
    # A clock that went back has uses that are still to come.
    return now - min(now, last) >= older_than


def _last(ends: Mapping[str, float], whole: bool) -> float:
    """Return the end of the last lease that counts; who found an entry empty holds none on one that is whole."""
    return max((end for holder, end in ends.items() if not (whole and holder == _FOUND)), default=0.0)


def _withdrawn(base: str, name: str, options: Options) -> bool:
    """Take the manifest away; put it back and return False if somebody has taken a lease meanwhile.

    Who takes an entry writes its lease first and then looks for the manifest, so one of the two sees the other.
    """
    folder = urls.join(base, name)
    content = _read(urls.join(folder, MANIFEST), options)
    urls.remove(urls.join(folder, MANIFEST), options)
    if _last(leases.ends(folder, options), whole=content is not None) <= time.time():
        return True
    if content is not None:
        publish(base, name, content, options)
    return False


def _read(url: str, options: Options) -> dict[str, Any] | None:
    """Return what a file says; None where there is none, or it is damaged."""
    try:
        with urls.open_read(url, options) as stream:
            text = stream.read(_LONGEST + 1)
        content = json.loads(text) if len(text) <= _LONGEST else None
    except (FileNotFoundError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
