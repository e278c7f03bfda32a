"""The Spark session: which one, what it can do, its job tags; here classic Spark is told from Connect."""

from __future__ import annotations

import contextlib
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pyspark
from pyspark.sql import SparkSession

from sparkdl.errors import ClusterError

if TYPE_CHECKING:
    from sparkdl.spark.facts import SessionFacts

_changing = threading.Lock()
_PLANNING_SECONDS = 60.0
"""For a job that was interrupted before it began."""
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}


def active_session() -> SparkSession:
    """Return the session of this thread, or the one of the application.

    Raises
    ------
    ClusterError
        If there is none.
    """
    session = SparkSession.getActiveSession()
    if session is None:
        session = _default_session()
    if session is None:
        raise ClusterError("there is no Spark session: create one with SparkSession.builder.getOrCreate()")
    return session


def _default_session() -> SparkSession | None:
    # getActiveSession looks at this thread only; a session made by another thread is the application's all the same.
    session: SparkSession | None = getattr(SparkSession, "_instantiatedSession", None)
    if session is None or session._jsc is None or session._jsc.sc().isStopped():
        return None
    return session


def is_connect(spark: SparkSession) -> bool:
    """Return whether the session is a Spark Connect client, with no JVM of its own."""
    return type(spark).__module__.startswith("pyspark.sql.connect")


def conf(spark: SparkSession, key: str, default: str | None = None) -> str | None:
    """Return a Spark setting as text, `default` where it is not set."""
    try:
        value = spark.conf.get(key, default)
    except Exception:
        # Connect servers refuse keys that they do not know, with errors of several classes.
        return default
    if value is None and not is_connect(spark):
        value = spark.sparkContext.getConf().get(key)
    return value if value is None else str(value)


def registered_conf(spark: SparkSession, key: str) -> str | None:
    """Return one of Spark's own settings, with Spark's own default; None where this version has no such setting."""
    try:
        # With a default of ours Spark would return that one.
        return str(spark.conf.get(key))
    except Exception:
        # SQL_CONF_NOT_FOUND comes as errors of several classes.
        return None


def session_zone() -> str | None:
    """Return the zone in which the session shows times, by Spark's name; None where there is no session."""
    try:
        return registered_conf(active_session(), "spark.sql.session.timeZone")
    except ClusterError:
        return None


def conf_bool(spark: SparkSession, key: str, default: bool) -> bool:
    """Return a Spark setting that is "true" or "false"."""
    return (conf(spark, key, str(default).lower()) or "").strip().lower() == "true"


def case_sensitive(spark: SparkSession | None) -> bool:
    """Return whether names of columns that differ only by case are different names; not where there is no session."""
    return spark is not None and conf_bool(spark, "spark.sql.caseSensitive", False)


def conf_int(spark: SparkSession, key: str, default: int) -> int:
    """Return a Spark setting that is a whole number."""
    return int(conf(spark, key, str(default)) or default)


def conf_bytes(spark: SparkSession, key: str, default: str, *, unit: str = "") -> int:
    """Return a Spark setting that is a size, such as "1g" or "512m", in bytes; `unit` is that of a number alone."""
    text = (conf(spark, key, default) or default).strip().lower()
    match = re.fullmatch(r"(\d+)\s*([bkmgtp]?)b?", text)
    if match is None:
        raise ClusterError(f"{key}={text!r} is not a size such as 512m or 1g")
    return int(match[1]) * _UNITS[match[2] or unit]


@contextlib.contextmanager
def with_conf(spark: SparkSession, key: str, value: str) -> Iterator[None]:
    """Give a SQL setting of the session another value for a moment; one thread at a time."""
    with _changing:
        before = spark.conf.get(key, None)
        spark.conf.set(key, value)
        try:
            yield
        finally:
            if before is None:
                spark.conf.unset(key)
            else:
                spark.conf.set(key, before)


def master(spark: SparkSession) -> str | None:
    """Return the master's URL; the server's over Connect, None where it does not say."""
    return conf(spark, "spark.master") if is_connect(spark) else str(spark.sparkContext.master)


def is_local(spark: SparkSession) -> bool:
    """Return whether the tasks run inside the driver's JVM (`local[...]`; local-cluster has executors of its own).

    Over Connect that JVM is the server, on whatever host it runs.
    """
    return is_local_master(master(spark))


def is_local_master(url: str | None) -> bool:
    """Return whether a master's URL is that of `is_local`."""
    return re.fullmatch(r"local(\[.*\])?", url or "") is not None


def worker_python(spark: SparkSession) -> tuple[str, str]:
    """Return the program that runs Python tasks and its PYTHONHASHSEED; of a classic session."""
    context = spark.sparkContext
    return str(context.pythonExec), str(context.environment.get("PYTHONHASHSEED", "0"))


def driver_host(spark: SparkSession) -> str | None:
    """Return the address at which executors reach the driver; None for Connect."""
    return None if is_connect(spark) else conf(spark, "spark.driver.host")


def driver_memory(spark: SparkSession) -> int:
    """Return the bytes that the driver's JVM may take; over Connect what the settings say."""
    jvm = None if is_connect(spark) else getattr(spark.sparkContext, "_jvm", None)
    if jvm is None:
        return conf_bytes(spark, "spark.driver.memory", "1g")
    return int(jvm.java.lang.Runtime.getRuntime().maxMemory())


def is_stopped(spark: SparkSession) -> bool:
    """Return whether the application of a classic session has been stopped; False over Connect, which does not say."""
    if is_connect(spark):
        return False
    context = spark.sparkContext._jsc
    return context is None or bool(context.sc().isStopped())


@contextlib.contextmanager
def names_stop(spark: SparkSession, doing: str) -> Iterator[None]:
    """Say in one sentence that the application was stopped; Spark's words are of what it has no longer then.

    Raises
    ------
    ClusterError
        "the fit was cancelled: ...", with `doing` in front, in place of any exception of a block during which it was.
    """
    try:
        yield
    except Exception as error:
        if not is_stopped(spark) or isinstance(error, ClusterError):
            raise
        raise ClusterError(f"{doing} was cancelled: the Spark application was stopped while it ran") from None


def default_fs(spark: SparkSession) -> str | None:
    """Return Hadoop's `fs.defaultFS`; None for Connect, which does not say."""
    if is_connect(spark):
        return None
    return str(spark.sparkContext._jsc.hadoopConfiguration().get("fs.defaultFS"))


def task_slots(spark: SparkSession, facts: SessionFacts) -> int | None:
    """Return how many tasks the cluster can run at once; None where nobody can tell (executors to come).

    Spark's own count over the registered executors (cores and GPUs), or what `spark.executor.instances` and
    `spark.executor.cores` promise, whichever is more; over Connect only what the settings promise.
    """
    present = 0 if facts.connect else registered_slots(spark)
    if present and facts.local:
        return present
    per_task = facts.task_cpus
    threads = re.fullmatch(r"local(?:\[\s*(\d+)\s*(?:,.*)?\])?", facts.master or "")
    if threads is not None:
        return int(threads[1] or 1) // per_task
    simulated = re.fullmatch(r"local-cluster\[\s*(\d+)\s*,\s*(\d+)\s*,.*\]", facts.master or "")
    if simulated is not None:
        return int(simulated[1]) * (int(simulated[2]) // per_task)
    promised = facts.executor_instances * (facts.executor_cores // per_task)
    return max(present, promised) or None


def registered_slots(spark: SparkSession, profile: Any = None) -> int:
    """Return how many tasks the executors that have registered run at once; of a classic session.

    Parameters
    ----------
    spark : SparkSession
    profile : ResourceProfile, optional
        One that Spark knows; the session's own by default.
    """
    context: Any = spark.sparkContext._jsc.sc()
    default = context.resourceProfileManager().defaultResourceProfile()
    # The number that Spark itself compares a barrier stage with.
    return int(context.maxNumConcurrentTasks(default if profile is None else profile._java_resource_profile))


def host_of_task(spark: SparkSession, stage: int, partition: int) -> str | None:
    """Return the host on which a task of a stage ran, from Spark's own records; None where they do not tell."""
    if is_connect(spark):
        return None
    try:
        tasks: Any = spark.sparkContext._jsc.sc().statusStore().taskList(stage, 0, 10_000)
        for number in range(tasks.size()):
            task = tasks.apply(number)
            if task.index() == partition:
                return str(task.host())
    except Exception:
        # Spark's private interface: the sentence that asks for the host is worth having without it.
        return None
    return None


@contextlib.contextmanager
def job_tag(spark: SparkSession, tag: str) -> Iterator[None]:
    """Mark the jobs that this thread starts, so that `cancel_tag` ends them and no others."""
    context: Any = spark if is_connect(spark) else spark.sparkContext
    add, remove = ("addTag", "removeTag") if is_connect(spark) else ("addJobTag", "removeJobTag")
    getattr(context, add)(tag)
    try:
        yield
    finally:
        # The context may have been stopped in the meantime.
        with contextlib.suppress(Exception):
            getattr(context, remove)(tag)


def cancel_tag(spark: SparkSession, tag: str) -> None:
    """Cancel the jobs that were started under `tag`."""
    with contextlib.suppress(Exception):
        if is_connect(spark):
            spark.interruptTag(tag)
        else:
            spark.sparkContext.cancelJobsWithTag(tag)


@contextlib.contextmanager
def ends_with_interrupt(spark: SparkSession) -> Iterator[None]:
    """Let Ctrl-C end the jobs that this thread starts in the block, those too that Spark has yet to plan then."""
    tag = f"sparkdl-{secrets.token_hex(8)}"
    with job_tag(spark, tag):
        try:
            yield
        except KeyboardInterrupt:
            threading.Thread(target=_cancel_for_a_while, args=(spark, tag), name="sparkdl-cancel", daemon=True).start()
            raise


def _cancel_for_a_while(spark: SparkSession, tag: str) -> None:
    # Nobody hears any more whether there is such a job, or one to come.
    deadline = time.monotonic() + _PLANNING_SECONDS
    while time.monotonic() < deadline and not is_stopped(spark):
        cancel_tag(spark, tag)
        time.sleep(0.2)


def in_this_session(spark: SparkSession, function: Callable[[], Any]) -> Callable[[], Any]:
    """Return `function` for another thread, with this thread's job groups, tags, pool and other local properties."""
    from pyspark.util import inheritable_thread_target

    # Before 4.0 tags do not belong to the session, and the decorator takes the function itself.
    takes_session = int(pyspark.__version__.partition(".")[0]) >= 4
    wrapped: Callable[[], Any] = (
        inheritable_thread_target(spark)(function) if takes_session else inheritable_thread_target(function)
    )
    return wrapped
