"""Which exceptions only say that another rank has failed."""

from __future__ import annotations

_NAMES = frozenset(
    {"HorovodInternalError", "HostsUpdatedInterrupt", "DistNetworkError", "DistBackendError", "HolderLostError"}
)
_PHRASES = (
    "Connection closed by peer",
    "Connection reset by peer",
    "gloo/transport",
    "gloo/rendezvous",
    "Gloo connectFullMesh failed",
    "ncclRemoteError",
    "remote process exited",
    "Horovod has been shut down",
)


def is_consequence(error: BaseException) -> bool:
    """Return whether the exception, or one that it was raised from, comes from a lost peer.

    Horovod and torch are recognised by names and phrases, so that neither has to be imported. A user's own
    ConnectionError (a download that broke) is a cause: only errors of the communication libraries count.
    """
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        if any(kind.__name__ in _NAMES for kind in type(link).__mro__):
            return True
        if isinstance(link, RuntimeError) and any(phrase in str(link) for phrase in _PHRASES):
            return True
        link = link.__cause__ or link.__context__
    return False
