"""A real HDFS on loopback: Hadoop's mini cluster, a name node and a data node in one JVM."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.servers.fetch import cached, free_port, need, run, served

VERSION = "3.5.0"
ARTIFACTS = [
    *(("org.apache.hadoop", f"hadoop-client-{part}", VERSION) for part in ("minicluster", "api", "runtime")),
    ("org.junit.jupiter", "junit-jupiter-api", "5.11.4"),
    ("org.slf4j", "slf4j-simple", "1.7.36"),
]


@contextmanager
def hdfs_server(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run the cluster; yield the URL of a folder in it and the storage options for it (none)."""
    library = cached(f"hdfs-{VERSION}", _fetch)
    java = need("java", "HDFS")
    port = free_port()
    details = folder / "details.json"
    command = [
        *(java, "-Xmx512m", "-XX:+UseSerialGC", f"-Dtest.build.data={folder / 'data'}", "-cp", f"{library}/*"),
        *("org.apache.hadoop.test.MiniDFSClusterManager", "-format", "-datanodes", "1", "-D", "dfs.replication=1"),
        *("-nnport", str(port), "-httpport", str(free_port()), "-writeDetails", str(details)),
    ]
    with served(command, folder / "hdfs.log", lambda: details.exists() and details.stat().st_size > 0, {}):
        yield f"hdfs://127.0.0.1:{port}/rows", {}


def _fetch(target: Path) -> None:
    maven = need("mvn", "HDFS")
    dependencies = "".join(
        f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version></dependency>"
        for group, name, version in ARTIFACTS
    )
    pom = target / "pom.xml"
    pom.write_text(
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        f"<groupId>tests</groupId><artifactId>hdfs</artifactId><version>1</version>"
        f"<dependencies>{dependencies}</dependencies></project>"
    )
    run(maven, "-B", "-q", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={target}")
