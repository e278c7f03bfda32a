"""The function of a job whose function is the user's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sparkdl.cluster.job import RankContext
from sparkdl.comm.registry import spec_of


def call(
    context: RankContext,
    main: Callable[..., Any],
    arguments: Mapping[str, Any],
    positional: Sequence[Any] = (),
    pass_context: bool = False,
) -> Any:
    """Call `main` with its arguments, after the context where it asks for it, and return its value."""
    for name, value in spec_of(context.backend).loop_environment.items():
        os.environ.setdefault(name, value)
    first = (context,) if pass_context else ()
    return main(*first, *positional, **arguments)
