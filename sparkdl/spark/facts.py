"""What a fit needs to know of its Spark session, read once and handed on."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import SparkSession

from sparkdl.spark import session as spark_session

CACHE_CONF = "spark.sparkdl.cacheUrl"
DYNAMIC_ALLOCATION = "spark.dynamicAllocation.enabled"
RECORDS_PER_BATCH = "spark.sql.execution.arrow.maxRecordsPerBatch"
DRIVER_MEMORY = "spark.driver.memory"
RESULT_SIZE = "spark.driver.maxResultSize"
SPARK_RECORDS_PER_BATCH = 10_000
"""Spark's default."""
TASK_GPUS = "spark.task.resource.gpu.amount"


@dataclass(frozen=True)
class SessionFacts:
    """What a session's settings say; how many executors have registered stays a question for Spark.

    Attributes
    ----------
    connect : bool
        Whether it is a Spark Connect client.
    master : str or None
        As `session.master`.
    case_sensitive : bool
        Of the names of columns.
    dynamic_allocation : bool
    task_cpus : int
    task_gpus : float
        What the session gives to each task.
    executor_instances, executor_cores : int
        What the settings promise; 0 executors where they promise none.
    records_per_batch : int
        Rows that Spark puts into an Arrow batch.
    max_result_size : int
        Bytes that Spark takes for one job; 0 for any number.
    driver_memory : int
        Bytes of the driver's JVM, through which results pass.
    warm_ranks : bool
        Whether ranks may be forked from a prefork server.
    cache_url : str or None
        The conf ``spark.sparkdl.cacheUrl``.
    default_fs : str or None
        Hadoop's ``fs.defaultFS``.
    driver_host, bind_address : str or None
        Where executors reach the driver, and where it listens for them; None for Connect.
    """

    connect: bool
    master: str | None
    case_sensitive: bool
    dynamic_allocation: bool
    task_cpus: int
    task_gpus: float
    executor_instances: int
    executor_cores: int
    records_per_batch: int
    max_result_size: int
    driver_memory: int
    warm_ranks: bool
    cache_url: str | None
    default_fs: str | None
    driver_host: str | None
    bind_address: str | None

    @classmethod
    def read(cls, spark: SparkSession) -> SessionFacts:
        """Ask a session, once for each of its settings."""
        host = spark_session.driver_host(spark)
        return cls(
            connect=spark_session.is_connect(spark),
            master=spark_session.master(spark),
            case_sensitive=spark_session.case_sensitive(spark),
            dynamic_allocation=spark_session.conf_bool(spark, DYNAMIC_ALLOCATION, False),
            task_cpus=spark_session.conf_int(spark, "spark.task.cpus", 1),
            task_gpus=float(spark_session.conf(spark, TASK_GPUS, "0") or 0),
            executor_instances=spark_session.conf_int(spark, "spark.executor.instances", 0),
            executor_cores=spark_session.conf_int(spark, "spark.executor.cores", 1),
            records_per_batch=spark_session.conf_int(spark, RECORDS_PER_BATCH, SPARK_RECORDS_PER_BATCH),
            max_result_size=spark_session.conf_bytes(spark, RESULT_SIZE, "1g"),
            driver_memory=spark_session.driver_memory(spark),
            warm_ranks=spark_session.conf_bool(spark, "spark.sparkdl.warmRanks", True),
            cache_url=spark_session.conf(spark, CACHE_CONF),
            default_fs=spark_session.default_fs(spark) or spark_session.conf(spark, "spark.hadoop.fs.defaultFS"),
            driver_host=host,
            bind_address=spark_session.conf(spark, "spark.driver.bindAddress", host) if host else None,
        )

    @property
    def result_limit(self) -> int:
        """Bytes that a rank may send back by Spark: the driver's JVM holds them several times over."""
        by_memory = self.driver_memory // 8
        return min(self.max_result_size // 2, by_memory) if self.max_result_size else by_memory

    @property
    def result_setting(self) -> str:
        """What sets `result_limit`, and the share of it that is taken."""
        if self.result_limit == self.max_result_size // 2:
            return f"half of {RESULT_SIZE}"
        return f"an eighth of {DRIVER_MEMORY}"

    @property
    def local(self) -> bool:
        """Whether the tasks run inside the driver's JVM (over Connect the server's), as `session.is_local` says it."""
        return spark_session.is_local_master(self.master)

    @property
    def shares_host(self) -> bool:
        """Whether this process and all tasks are sure to run on one host."""
        return self.local and not self.connect
