"""Whether a folder behind a URL can be used, and the one sentence for why not; nothing secret is in it."""

from __future__ import annotations

import errno
import os
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from sparkdl.errors import HIDDEN, ClusterError, SettingError, SparkDLError, did_you_mean, without_credentials
from sparkdl.storage import urls

SECONDS = 60.0
"""How long a file system may take to answer: some try again for minutes where nobody listens."""

_SHORTEST_SECRET = 4
_LONGEST = 400
_FULL = (errno.ENOSPC, errno.EDQUOT)

_NO_ACCESS = re.compile(
    r"credential|access ?denied|forbidden|unauthori[sz]ed|permission|signature|InvalidAccessKey|40[13]"
)
_NO_ANSWER = re.compile(
    r"connect|refused|timed out|timeout|resolve|unreachable|no answer|Name or service", re.IGNORECASE
)


def shown(url: str) -> str:
    """Return a URL for people to read: without user, password and query."""
    return without_credentials(url, one_url=True)


def check_form(name: str, url: str) -> None:
    """Refuse what is no path and no URL of a file system that anybody knows.

    Parameters
    ----------
    name : str
        Of the setting.
    url : str

    Raises
    ------
    SettingError
        Names the setting, the value and what was meant.
    """
    slashless = re.match(r"([A-Za-z][A-Za-z0-9+]+):(?!//)", urls.plain(url))
    scheme = slashless[1].lower() if slashless else urls.scheme(url)
    if scheme == "file":
        return
    known = _known_schemes()
    if slashless:
        if scheme in known and not urls.exists(url):
            raise SettingError(
                f"invalid {name}={shown(url)!r}: a URL has two slashes behind its scheme, {scheme}://host/folder"
            )
    elif scheme not in known:
        hint = did_you_mean(
            scheme, sorted(known), "take hdfs://, s3://, gs://, abfs:// or a folder that all hosts mount"
        )
        raise SettingError(f"invalid {name}={shown(url)!r}: no file system has the scheme {scheme!r}, {hint}")


def check_package(name: str, url: str) -> None:
    """Refuse a URL that this Python has no package for.

    Raises
    ------
    ClusterError
        Says how to install it.
    """
    module, _ = urls.PACKAGES.get(urls.scheme(url), ("", ""))
    # HDFS can also be opened by pyarrow and Hadoop's own library.
    if module and module != "hdfs_native" and find_spec(module) is None:
        raise ClusterError(f"{name}={shown(url)!r} cannot be opened: {urls.lacking(url)}")


def check_folder(name: str, url: str, *, here: bool) -> None:
    """Refuse a folder that the user names and that cannot be used, as far as this can be told without a task.

    Parameters
    ----------
    name : str
        Of the setting.
    url : str
    here : bool
        Whether this host is the one that will open it: a local folder is tried then.

    Raises
    ------
    SettingError
        It is no URL that anybody knows.
    ClusterError
        No package opens it, or it cannot be used.
    """
    check_form(name, url)
    if not here:
        return
    mount = urls.mount(url)
    if mount is not None and url.lower().startswith("dbfs:") and not os.path.isdir(mount):
        raise SettingError(
            f"invalid {name}={shown(url)!r}: Databricks mounts it at {mount}, and this host has no {mount}: choose a "
            "folder that it has"
        )
    if not urls.is_local(url):
        check_package(name, url)
        return
    with explained(f"{name}={shown(url)!r}", url):
        probe(url)


def probe(url: str, options: urls.Options | None = None, seconds: float = SECONDS) -> None:
    """Make the folder if it is not there, write a small file into it and remove it.

    Raises
    ------
    TimeoutError
        If there is no answer in so many seconds.
    """
    place = urls.join(url, f"sparkdl-probe-{uuid.uuid4().hex}")

    def write() -> None:
        urls.make_folder(url, options)
        with urls.write_atomic(place, options) as stream:
            stream.write(b"sparkdl")
        urls.remove(place, options)

    _within(seconds, write)


@contextmanager
def explained(named: str, url: str, options: urls.Options | None = None, *, verb: str = "opened") -> Iterator[None]:
    """Turn what a file system raises inside the block into one sentence. Errors of ours and a full disk pass.

    Parameters
    ----------
    named : str
        The setting and its value, as ``cacheUrl='s3://bucket/rows'``.
    url, options
        Their secrets are taken out of the sentence.
    verb : str
        What could not be done.

    Raises
    ------
    ClusterError
        Names the setting, what failed and the remedy.
    SettingError
        It can never be a folder.
    """
    try:
        yield
    except ClusterError as error:
        # The package is not there.
        raise ClusterError(f"{named} cannot be {verb}: {error}") from None
    except SparkDLError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            raise
        if isinstance(error, (NotADirectoryError, FileExistsError)):
            raise SettingError(f"invalid {named}: there is a file in its way, choose a folder") from None
        if isinstance(error, NotImplementedError):
            raise SettingError(f"invalid {named}: nothing can be written there, choose a folder that can be") from None
        raise ClusterError(f"{named} cannot be {verb} ({_told(error, url, options)}): {_remedy(error)}") from None


def _within(seconds: float, function: Callable[[], None]) -> None:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, name="sparkdl-probe", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {seconds:g} seconds")
    if raised:
        raise raised[0]


def _known_schemes() -> set[str]:
    from fsspec.registry import known_implementations, registry

    return {*known_implementations, *registry, *urls.PACKAGES}


def _told(error: Exception, url: str, options: urls.Options | None) -> str:
    text = " ".join(str(error).split())
    for secret in sorted(_secrets(url, options), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    text = text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _secrets(url: str, options: urls.Options | None) -> set[str]:
    parts = urlsplit(url)
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    hidden = shown(url) != url
    found = {password, parts.query, *([user, unquote(user)] if hidden else [])} | set(_texts(options or {}))
    return {
        form for text in found for form in (text, unquote(text), quote(text, safe="")) if len(form) >= _SHORTEST_SECRET
    }


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple, set)):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, bytes):
        yield value.decode(errors="replace")
    elif value is not None and not isinstance(value, (bool, float)):
        yield str(value)


def _remedy(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, PermissionError) or _NO_ACCESS.search(text):
        return "give credentials by storageOptions or the executors' environment, or choose a folder of yours"
    if isinstance(error, (TimeoutError, ConnectionError)) or _NO_ANSWER.search(text):
        return "look at its host and port, and whether the executors reach them"
    if isinstance(error, FileNotFoundError):
        return "make the folder or the bucket above it, or choose another folder"
    return "choose a folder that driver and executors can write to"
