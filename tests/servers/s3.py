"""A real S3 server on loopback: versitygw over a folder."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import s3fs

from tests.servers.fetch import cached, free_port, listens, need, run, served

VERSION = "v1.8.0"
BUCKET = "rows"


@contextmanager
def s3_server(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run the server; yield the URL of a bucket and the storage options for it."""

    def fetch(target: Path) -> None:
        go = need("go", "the S3 server versitygw")
        run(go, "install", f"github.com/versity/versitygw/cmd/versitygw@{VERSION}", env={"GOBIN": str(target)})

    program = cached(f"versitygw-{VERSION}", fetch) / "versitygw"
    port = free_port()
    key, secret = secrets.token_hex(10), secrets.token_hex(20)
    (folder / "objects").mkdir()
    command = [str(program), "--port", f"127.0.0.1:{port}", "--region", "us-east-1", "posix", str(folder / "objects")]
    env = {"ROOT_ACCESS_KEY": key, "ROOT_SECRET_KEY": secret}
    options = {"key": key, "secret": secret, "endpoint_url": f"http://127.0.0.1:{port}"}
    with served(command, folder / "versitygw.log", lambda: listens(port), env):
        before = os.environ.get("AWS_DEFAULT_REGION")
        os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
        try:
            s3fs.S3FileSystem(**options).mkdir(BUCKET)
            yield f"s3://{BUCKET}", options
        finally:
            if before is None:
                del os.environ["AWS_DEFAULT_REGION"]
            else:
                os.environ["AWS_DEFAULT_REGION"] = before
