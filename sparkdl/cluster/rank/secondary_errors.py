"""Which exceptions only say that another rank has failed."""

from __future__ import annotations

from sparkdl.comm.registry import BACKENDS

# The user's code may talk by another library than its ranks do.
_NAMES = {"SpoolLostError", "PeerLostError", *(name for spec in BACKENDS.values() for name in spec.secondary_errors)}
_PHRASES = {phrase for spec in BACKENDS.values() for phrase in spec.secondary_phrases}


def is_secondary(error: BaseException) -> bool:
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
