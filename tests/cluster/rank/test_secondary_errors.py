from __future__ import annotations

import pytest

from sparkdl.cluster.rank.secondary_errors import is_secondary


class HorovodInternalError(RuntimeError):
    """Recognised by its name: Horovod is not imported for that."""


def raised(outer: BaseException, inner: BaseException | None = None) -> BaseException:
    try:
        try:
            raise inner or ValueError("inner")
        except BaseException as error:
            if inner is None:
                raise outer from None
            raise outer from error
    except BaseException as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        HorovodInternalError("x"),
        RuntimeError("[/gloo/gloo/transport/tcp/pair.cc:598] Connection closed by peer [127.0.0.1]:5552"),
        raised(RuntimeError("training failed"), HorovodInternalError("x")),
        raised(RuntimeError("outer"), RuntimeError("Connection reset by peer")),
    ],
)
def test_lost_peers_are_secondary_failures(error):
    assert is_secondary(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        ConnectionResetError("Connection reset by peer"),
        ConnectionError("download"),
        raised(KeyError("k")),
    ],
)
def test_the_users_own_errors_are_causes(error):
    assert not is_secondary(error)
