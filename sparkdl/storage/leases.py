"""Leases on folders that several programs share: small files that say until when somebody needs the folder.

A lease is renewed by whoever holds it. One that nobody renews, because its holder has died, ends by itself. Hosts have
to agree on the time to within minutes; leases are made for days.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from sparkdl.storage import urls

SECONDS = 3 * 86_400.0
"""How long a lease lasts unless it is renewed."""

_LONGEST = 4096
_FOREVER = 1e11
_PREFIX = "lease-"


def name_of(holder: str) -> str:
    """Return the name of a holder's lease in the folder."""
    return f"{_PREFIX}{holder}.json"


def holder_of(name: str) -> str:
    """Return the holder of a lease of that name."""
    return name.removeprefix(_PREFIX).removesuffix(".json")


def is_lease(name: str) -> bool:
    """Whether a file of that name is a lease, or one that is being written."""
    return name.startswith(_PREFIX)


def hold(folder: str, holder: str, options: Mapping[str, Any] | None = None) -> None:
    """Take a lease on a folder that exists, or renew it."""
    with urls.write_atomic(urls.join(folder, name_of(holder)), options) as stream:
        stream.write(json.dumps({"until": time.time() + SECONDS}).encode())


def release(folder: str, holder: str, options: Mapping[str, Any] | None = None) -> None:
    """Give a lease back; nothing happens where there is none."""
    urls.remove(urls.join(folder, name_of(holder)), options)


def ends(folder: str, options: Mapping[str, Any] | None = None) -> dict[str, float]:
    """Return the holders of leases on a folder, and when each lease ends, in seconds since 1970."""
    found = {}
    for name, _ in urls.list_folder(folder, options):
        if is_lease(name) and name.endswith(".json"):
            # One that is given back in this moment is none.
            with suppress(FileNotFoundError), urls.open_read(urls.join(folder, name), options) as stream:
                found[holder_of(name)] = _end(stream.read(_LONGEST))
    return found


def _end(text: bytes) -> float:
    """Return what a lease says; one that is damaged has ended, and its holder renews it."""
    try:
        until = json.loads(text)["until"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0.0
    return float(until) if type(until) in (int, float) and until < _FOREVER else 0.0


def held_until(folder: str, options: Mapping[str, Any] | None = None) -> float:
    """Return when the last lease on a folder ends, in seconds since 1970; 0 where there is none."""
    return max(ends(folder, options).values(), default=0.0)
