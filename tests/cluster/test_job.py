from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkdl.cluster.driver.spec import Ranks
from sparkdl.cluster.job import ENVIRONMENT, USER_ERROR, Job, Outcome
from sparkdl.cluster.messages import PrepareRank, RunFunction
from sparkdl.comm.registry import Meeting
from sparkdl.errors import SparkDLError

TEXT = st.text(max_size=20)


@given(
    kwargs=st.fixed_dictionaries(
        {
            "function": TEXT,
            "num_procs": st.integers(1, 1000),
            "backend": st.sampled_from(["horovod", "torch", "local"]),
            "versions": st.dictionaries(TEXT, TEXT, max_size=3),
            "secret": TEXT,
            "env": st.dictionaries(TEXT, TEXT, max_size=3),
            "sys_path": st.lists(TEXT, max_size=3).map(tuple),
            "driver": st.none() | st.tuples(TEXT, st.integers(1, 65535)),
            "blob": st.binary(max_size=100),
            "result_folder": st.binary(max_size=100),
            "prefork": st.booleans(),
        }
    )
)
def test_job_survives_the_way_to_the_tasks(kwargs):
    job = Job(**kwargs)
    assert Job.from_bytes(job.to_bytes()) == job


@given(
    message=TEXT,
    log_tail=st.text(max_size=200),
    order=st.integers(-1, 100),
    blob=st.binary(max_size=100),
    events=st.lists(st.dictionaries(TEXT, TEXT | st.floats(allow_nan=False), max_size=3), max_size=3).map(tuple),
)
def test_outcome_survives_the_way_back(message, log_tail, order, blob, events):
    outcome = Outcome(
        kind=USER_ERROR,
        rank=1,
        host="h",
        message=message,
        log_tail=log_tail,
        order=order,
        blob=blob,
        events=events,
        seconds={"run": 1.5},
    )
    assert Outcome.from_bytes(outcome.to_bytes()) == outcome


def test_first_line_is_plain_json_that_a_task_without_sparkdl_can_read():
    data = Job(
        function="m:f", num_procs=2, backend="horovod", versions={"torch": "2"}, secret="s", blob=b"\n\x00"
    ).to_bytes()
    header = json.loads(data.split(b"\n", 1)[0])
    assert header["versions"] == {"torch": "2"}
    assert data.split(b"\n", 1)[1] == b"\n\x00"


def test_another_format_version_is_named_with_the_remedy():
    data = Outcome(kind=ENVIRONMENT, rank=0).to_bytes().replace(b'"formatVersion": 1', b'"formatVersion": 7')
    with pytest.raises(SparkDLError, match="this outcome has format version 7, this sparkdl reads 1: install the same"):
        Outcome.from_bytes(data)


def test_no_secret_is_shown():
    env = {"TOKEN": "s3cr3t"}
    job = Ranks(1, env=env).job("m:f", {"storage_options": "s3cr3t"})
    for each in (
        Ranks(1, env=env),
        job,
        PrepareRank(env, [], "/f", 1, 1.0),
        RunFunction("m:f", env, {}, 1, spool_secret="s3cr3t", result_folder=b"s3cr3t", arguments=b"s3cr3t"),
        Meeting(("h", 1), None, 1.0, "s3cr3t"),
    ):
        assert "s3cr3t" not in repr(each)
        assert job.secret not in repr(each)
