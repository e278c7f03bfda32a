from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from sparkdl.errors import ClusterError, DataError, SettingError
from sparkdl.storage import urls
from sparkdl.storage.access import check_folder, check_form, check_package, explained, probe, shown


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("/data/rows", "/data/rows"),
        ("s3://bucket/rows", "s3://bucket/rows"),
        ("s3://user:pass@word@bucket/rows", "s3://***@bucket/rows"),
        ("https://token@host/rows?signature=abc", "https://***@host/rows?***"),
        ("abfss://container@account.dfs.core.windows.net/rows", "abfss://container@account.dfs.core.windows.net/rows"),
        ("abfss://user:password@account/rows", "abfss://***@account/rows"),
        ("hdfs://host", "hdfs://host"),
    ],
)
def test_what_people_see_of_a_url(url: str, text: str) -> None:
    assert shown(url) == text


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("s4://bucket/x", "invalid cacheUrl='s4://bucket/x': no file system has the scheme 's4', take hdfs://, s3://"),
        ("hdsf://host/x", "no file system has the scheme 'hdsf', did you mean 'hdfs'?"),
        ("s3:/x", "invalid cacheUrl='s3:/x': a URL has two slashes behind its scheme, s3://host/folder"),
        ("hdfs:x", "invalid cacheUrl='hdfs:x': a URL has two slashes behind its scheme, hdfs://host/folder"),
        ("x4://user:password@host/x", "invalid cacheUrl='x4://***@host/x'"),
    ],
)
def test_what_is_no_url_of_any_file_system(url: str, sentence: str) -> None:
    with pytest.raises(SettingError) as error:
        check_form("cacheUrl", url)
    assert sentence in str(error.value)


def test_paths_and_urls_that_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:").mkdir()
    for url in ("/data/x", "data/x", "file:/data", "file:///data", "FILE:/data", "odd:name/x", "s3:/", "C:/data"):
        check_form("cacheUrl", url)
    for url in ("hdfs:/x", "dbfs:/x", "dbfs:/Volumes/main/x", "dbfs:///x", "DBFS:/"):
        check_form("cacheUrl", url)
    for scheme in ("s3", "s3a", "hdfs", "gs", "abfss", "memory", "HDFS"):
        check_form("cacheUrl", f"{scheme}://host/x")


def test_the_package_of_a_scheme() -> None:
    for url in ("/data", "hdfs://host/x", "memory://x"):
        check_package("cacheUrl", url)
    with pytest.raises(ClusterError) as error:
        check_package("cacheUrl", "oss://user:password@bucket/x")
    assert str(error.value) == (
        "cacheUrl='oss://***@bucket/x' cannot be opened: no package of this Python opens oss://, pip install ossfs on "
        "the driver and the executors"
    )
    with pytest.raises(ClusterError, match="no package of this Python opens oss://, pip install ossfs"):
        urls.exists("oss://bucket/x")


@pytest.mark.skipif(os.path.isdir("/dbfs"), reason="a host of Databricks")
def test_a_mount_that_is_not_there() -> None:
    with pytest.raises(SettingError, match="invalid cacheUrl='dbfs:/x': .* at /dbfs, and this host has no /dbfs"):
        check_folder("cacheUrl", "dbfs:/x", here=True)
    check_folder("cacheUrl", "dbfs:/x", here=False)


def test_what_a_url_alone_does_not_tell() -> None:
    with pytest.raises(ClusterError, match="dbfs:// cannot be opened with these storageOptions: missing .*token"):
        urls.exists("dbfs://host/x")


def test_a_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    probe(str(tmp_path / "a" / "b"))
    assert list((tmp_path / "a" / "b").iterdir()) == []
    probe("memory://probed/b")
    assert urls.list_files("memory://probed/b") == []


def test_a_folder_that_cannot_be_used() -> None:
    folder = "/proc/no/folder"
    with pytest.raises(ClusterError, match=rf"^cacheUrl='{folder}' cannot be opened \(\w+Error: .*\): \w+") as error:
        with explained(f"cacheUrl={folder!r}", folder):
            probe(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("folder", ["/dev/null/folder", "file:///dev/null"])
def test_a_file_in_the_way_of_a_folder(folder: str) -> None:
    with pytest.raises(SettingError) as error, explained(f"cacheUrl={folder!r}", folder):
        probe(folder)
    assert str(error.value) == f"invalid cacheUrl={folder!r}: there is a file in its way, choose a folder"


def test_nobody_waits_for_ever_for_a_file_system() -> None:
    with pytest.raises(TimeoutError, match="no answer within 0.2 seconds"):
        probe("hdfs://127.0.0.1:9/x", seconds=0.2)


def sentence(
    error: Exception, url: str = "s3://user:p%40ssword@bucket/x", options: dict[str, Any] | None = None
) -> str:
    with pytest.raises(ClusterError) as raised, explained("cacheUrl='...'", url, options):
        raise error
    return str(raised.value)


def test_nothing_secret_is_told() -> None:
    options = {"key": "AKIAKEY", "client_kwargs": {"secrets": ["topsecret", b"bytesecret", 123456]}, "anon": False}
    text = "AKIAKEY topsecret bytesecret 123456 False p%40ssword p@ssword user:p%40ssword top%73ecret\nsecond line"
    told = sentence(RuntimeError(text), options=options)
    for secret in ("AKIA", "topsecret", "bytesecret", "123456", "ssword", "user"):
        assert secret not in told
    assert "False" in told
    assert "second line" in told
    assert "\n" not in told


def test_the_remedy_follows_from_the_error() -> None:
    assert "give credentials by storageOptions" in sentence(PermissionError("Forbidden"))
    assert "give credentials by storageOptions" in sentence(RuntimeError("Unable to locate credentials"))
    assert "look at its host and port" in sentence(OSError("Connection refused (os error 111)"))
    assert "look at its host and port" in sentence(TimeoutError("no answer within 60 seconds"))
    assert "make the folder or the bucket above it" in sentence(
        FileNotFoundError("The specified bucket does not exist")
    )
    assert sentence(RuntimeError()).startswith("cacheUrl='...' cannot be opened (RuntimeError): choose a folder that")
    assert len(sentence(RuntimeError("x" * 9999))) < 600


def test_our_own_errors_and_a_full_disk_pass() -> None:
    with pytest.raises(DataError, match="as it is"), explained("cacheUrl='...'", "/x"):
        raise DataError("as it is")
    with pytest.raises(OSError, match="No space") as error, explained("cacheUrl='...'", "/x"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert not isinstance(error.value, ClusterError)
