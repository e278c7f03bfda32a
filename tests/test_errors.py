from __future__ import annotations

import pickle
import string

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from sparkdl.errors import (
    ClusterError,
    ColumnError,
    DataError,
    PersistenceError,
    RankLostError,
    SettingTypeError,
    SparkDLError,
    did_you_mean,
    invalid,
    without_credentials,
)


def test_the_closest_name_is_offered_else_all_of_them() -> None:
    assert did_you_mean("hiden", ["hidden", "dropout"]) == "did you mean 'hidden'?"
    assert did_you_mean("STEPLR", ["StepLR", "OneCycleLR"]) == "did you mean 'StepLR'?"
    assert did_you_mean("kernel", ["hidden", "dropout"]) == "take one of hidden, dropout"
    assert did_you_mean("kernel", ["hidden"], "") == ""
    assert did_you_mean("kernel", []) == "take one of "


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("hdfs://bob:p@ss@host/rows", "hdfs://***@host/rows"),
        ("s3://bob:a/b+c@bucket/rows", "s3://***@bucket/rows"),
        ("s3://bob:12/3+c@bucket/rows", "s3://***@bucket/rows"),
        ("hdfs://bob:p?s#s@host:8020/rows", "hdfs://***@host:8020/rows"),
        ("hdfs://bob:p@s/s@host/rows", "hdfs://***@host/rows"),
        ("s3://a/b?c=d is gone: ask bob@x", "s3://a/b?*** is gone: ask bob@x"),
        ("s3://AKIA@bucket/rows", "s3://***@bucket/rows"),
        ("https://account.blob/rows?sig=a%2Fb&se=1", "https://account.blob/rows?***"),
        ("cannot open 's3://bob:pass@b/x?sig=abc': no", "cannot open 's3://***@b/x?***': no"),
        ("s3://a:b@c,hdfs://d:e@f/g", "s3://***@f/g"),
        ("hdfs://n:8020/a,hdfs://d:e@f/g", "hdfs://n:8020/a,hdfs://***@f/g"),
        # What is no credential stays.
        ("hdfs://name:8020/a@b", "hdfs://name:8020/a@b"),
        ("hdfs://[::1]:8020/a@b", "hdfs://[::1]:8020/a@b"),
        ("abfss://container@account.dfs.core.windows.net/a", "abfss://container@account.dfs.core.windows.net/a"),
        ("models:/name@alias, mail bob:x@y", "models:/name@alias, mail bob:x@y"),
        ("s3://bucket/a@b", "s3://bucket/a@b"),
    ],
)
def test_credentials_in_urls_are_hidden(text: str, shown: str) -> None:
    assert without_credentials(text) == shown
    assert without_credentials(shown) == shown


def test_a_url_alone_may_have_spaces() -> None:
    assert without_credentials("hdfs://bob:two words@host/rows", one_url=True) == "hdfs://***@host/rows"
    assert without_credentials("no rows in hdfs://bob:pass@host", one_url=True) == "no rows in hdfs://***@host"


def test_a_text_may_be_long() -> None:
    # Hours, where time grows with the square of the length.
    word = "x" * 10**7
    assert without_credentials(word) == word
    assert without_credentials(word, one_url=True) == word


PASSWORDS = st.text(st.characters(exclude_categories=("Z", "C")), min_size=1).map(lambda text: f"<{text}>")


@given(
    scheme=st.sampled_from(["s3", "s3a", "hdfs", "https", "abfss", "mongodb+srv", "jdbc:postgresql"]),
    user=st.text(string.ascii_letters + string.digits + "+._-", min_size=1),
    password=PASSWORDS,
    rest=st.sampled_from(["host", "host/rows", "host:8020/a/b", "host/x@y", "host/rows?sig=1"]),
    around=st.sampled_from([("", ""), ("no folder at ", ""), ("'", "' is gone"), ("s3://a/b and ", ", https://c")]),
)
@example("s3", "bob", "<a/b+c>", "bucket", ("", ""))
@example("hdfs", "bob", "<p@s/s@>", "host", ("", ""))
def test_no_password_survives(scheme: str, user: str, password: str, rest: str, around: tuple[str, str]) -> None:
    before, after = around
    shown = without_credentials(f"{before}{scheme}://{user}:{password}@{rest}{after}")
    assert password not in shown
    assert "***@" in shown


@given(
    secret=st.text(string.ascii_letters + string.digits + "+/%=", min_size=4), around=st.sampled_from(["{}", "no '{}'"])
)
def test_no_query_survives(secret: str, around: str) -> None:
    assume(secret not in "https://account.blob/rows?sig=")
    shown = without_credentials(around.format(f"https://account.blob/rows?sig={secret}"))
    assert shown == around.format("https://account.blob/rows?***")


@pytest.mark.parametrize("kind", [SettingTypeError, DataError, ClusterError, RankLostError, PersistenceError])
def test_no_error_of_ours_says_credentials(kind: type[SparkDLError]) -> None:
    error = kind("there is no Parquet file in s3://bob:a/b@bucket/rows?sig=1: give the folder")
    told = "there is no Parquet file in s3://***@bucket/rows?***"
    for each in (error, pickle.loads(pickle.dumps(error))):
        assert str(each).startswith(told)
        assert repr(each).startswith(f"{kind.__name__}('{told}")
        assert "a/b" not in str(vars(each))


def test_a_column_error_is_still_one() -> None:
    error = ColumnError(["x"], "has 1 row with a null", "input")
    assert (str(error), error.columns, error.role) == ("column 'x' has 1 row with a null", ("x",), "input")


class Table:
    """Shown in many lines, of which the first ones may be left out; here as in pandas-on-Spark showing costs a job."""

    columns = ("x",)

    def __repr__(self) -> str:
        raise AssertionError("it has been shown")


class Broken:
    def __repr__(self) -> str:
        raise ValueError("it has no text")


class Lines:
    def __repr__(self) -> str:
        return "x" * 200 + "\n" + "y" * 200


def test_what_is_shown_in_many_lines_is_named_by_its_type() -> None:
    assert invalid("rows", Table(), "a table") == "invalid rows=<Table>: expected a table"
    assert invalid("rows", Broken(), "a table") == "invalid rows=<Broken>: expected a table"
    assert invalid("rows", Lines(), "a table") == "invalid rows=<Lines>: expected a table"
    assert invalid("rows", "a\nb", "a table") == "invalid rows='a\\nb': expected a table"
