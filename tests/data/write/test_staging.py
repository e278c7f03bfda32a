"""Where rows live: the order of choices, privacy, and that nothing stays behind."""

from __future__ import annotations

import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import SparkSession

from sparkdl.data.write import StagingFolder, check_folder, choose_folder
from sparkdl.errors import ClusterError, SettingError
from sparkdl.spark.facts import CACHE_CONF, SessionFacts


def test_a_local_master_has_a_private_temporary_folder(spark: SparkSession) -> None:
    with choose_folder(spark, SessionFacts.read(spark), None, {"secret": "s3cr3t"}) as place:
        folder = Path(place.url)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "part").write_bytes(b"rows")
        assert "s3cr3t" not in repr(place)
    assert not folder.exists()
    place.remove()


def test_cache_url_comes_before_the_conf(spark: SparkSession, tmp_path: Path) -> None:
    spark.conf.set(CACHE_CONF, str(tmp_path / "conf"))
    try:
        assert Path(choose_folder(spark, SessionFacts.read(spark), None).url).parent == tmp_path / "conf"
        given = choose_folder(spark, SessionFacts.read(spark), (tmp_path / "param").as_uri())
    finally:
        spark.conf.unset(CACHE_CONF)
    assert Path(given.url).parent == tmp_path / "param"
    assert given.url != choose_folder(spark, SessionFacts.read(spark), str(tmp_path / "param")).url


def test_a_folder_is_gone_after_an_error(spark: SparkSession, tmp_path: Path) -> None:
    def fit() -> None:
        with choose_folder(spark, SessionFacts.read(spark), str(tmp_path)) as place:
            Path(place.url).mkdir()
            raise RuntimeError("the fit failed")

    with pytest.raises(RuntimeError, match="the fit failed"):
        fit()
    assert list(tmp_path.iterdir()) == []


def test_a_task_removes_what_the_driver_may_not_see(spark: SparkSession, tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    (folder / "part").write_bytes(b"rows")
    # To us "local://" is no local path, so nobody but the task can have removed it.
    StagingFolder(f"local://{folder}", spark).remove()
    assert not folder.exists()
    folder.mkdir()
    StagingFolder(str(folder), spark, one_host=False).remove()
    assert not folder.exists()


class Cluster:
    """A session whose master is not local; it is asked for nothing but settings."""

    def __init__(self, default_fs: str) -> None:
        hadoop = {"fs.defaultFS": default_fs}
        self.conf = {"spark.master": "spark://host:7077"}
        self.sparkContext = SimpleNamespace(
            master="spark://host:7077", getConf=dict, _jsc=SimpleNamespace(hadoopConfiguration=lambda: hadoop)
        )


def of_cluster(default_fs: str) -> tuple[Any, SessionFacts]:
    session: Any = Cluster(default_fs)
    return session, SessionFacts.read(session)


def test_a_cluster_needs_a_place_that_its_hosts_share() -> None:
    with pytest.raises(ClusterError, match="set cacheUrl, or the Spark conf spark.sparkdl.cacheUrl.*feed='direct'"):
        choose_folder(*of_cluster("file:///"), None)
    assert choose_folder(*of_cluster("hdfs://name:8020"), None).url.startswith("hdfs://name:8020/tmp/sparkdl-")


def test_a_place_is_tried_before_any_job(spark: SparkSession, tmp_path: Path) -> None:
    check_folder(SessionFacts.read(spark), None)
    check_folder(SessionFacts.read(spark), str(tmp_path / "new" / "folder"))
    assert list((tmp_path / "new" / "folder").iterdir()) == []
    check_folder(SessionFacts.read(spark), "s3://bucket/rows", {"key": "k"})
    with pytest.raises(
        ClusterError, match=r"^cacheUrl='/proc/no/rows' cannot be opened \(FileNotFoundError: .*\): make the"
    ):
        check_folder(SessionFacts.read(spark), "/proc/no/rows")
    with pytest.raises(ClusterError, match="cacheUrl='oss://bucket/rows' cannot be opened: .*pip install ossfs"):
        check_folder(SessionFacts.read(spark), "oss://bucket/rows")
    with pytest.raises(SettingError, match="invalid cacheUrl='s4://bucket/rows': no file system has the scheme 's4'"):
        check_folder(SessionFacts.read(spark), "s4://bucket/rows")
    spark.conf.set(CACHE_CONF, "/dev/null/rows")
    try:
        with pytest.raises(
            SettingError, match=f"invalid {CACHE_CONF}='/dev/null/rows': there is a file in its way, choose a folder"
        ):
            check_folder(SessionFacts.read(spark), None)
    finally:
        spark.conf.unset(CACHE_CONF)


def test_what_another_host_opens_is_not_tried_on_the_driver() -> None:
    check_folder(of_cluster("hdfs://name:8020")[1], None)
    check_folder(of_cluster("file:///")[1], "/proc/no/rows")
    check_folder(of_cluster("file:///")[1], "oss://bucket/rows")
    with pytest.raises(ClusterError, match="set cacheUrl"):
        check_folder(of_cluster("file:///")[1], None)
    with pytest.raises(SettingError, match="no file system has the scheme"):
        check_folder(of_cluster("file:///")[1], "s4://bucket/rows")
