"""A Spark Connect server on this host, for the tests.

``connect_server.py COMMAND...`` starts one and runs a command that finds its address in SPARK_REMOTE.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyspark

_CLASS = "org.apache.spark.sql.connect.service.SparkConnectServer"
_START = 300.0


@contextmanager
def server(folder: Path, **conf: str) -> Iterator[str]:
    """Give the address of a server with two slots; its process, and what it has written, are gone afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "spark.master": "local[2]",
        "spark.connect.grpc.binding.port": str(port),
        "spark.driver.memory": "1g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        # The tests save to folders of this host, which a server of others would refuse.
        "spark.sql.artifact.copyFromLocalToFs.allowDestLocal": "true",
        "spark.connect.copyFromLocalToFs.allowDestLocal": "true",
        **conf,
    }
    home = Path(pyspark.__file__).parent
    command = [str(home / "bin" / "spark-submit"), "--class", _CLASS]
    for name, value in settings.items():
        command += ["--conf", f"{name}={value}"]
    env = {**os.environ, "SPARK_HOME": str(home), "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    env.pop("SPARK_REMOTE", None)
    with open(folder / "server.log", "wb") as log:
        # spark-submit replaces itself by java, so this is the server's own process.
        running = subprocess.Popen([*command, "spark-internal"], stdout=log, stderr=log, env=env, cwd=folder)
        try:
            _wait(running, port, folder / "server.log")
            yield f"sc://127.0.0.1:{port}"
        finally:
            running.terminate()
            running.wait(30)


def _wait(running: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline:
        if running.poll() is not None:
            break
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.3)
    raise RuntimeError(f"the Spark Connect server did not start within {_START:g} s:\n{log.read_text()[-2000:]}")


if __name__ == "__main__":
    # Whoever ends this program ends the server too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="sparkdl-connect-") as scratch, server(Path(scratch)) as address:
        sys.exit(subprocess.run(sys.argv[1:], env={**os.environ, "SPARK_REMOTE": address}, check=False).returncode)
