"""The function of a job whose function is the user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sparkdl.job import RankContext


def call(
    context: RankContext, main: Callable[..., Any], arguments: Mapping[str, Any], pass_context: bool = False
) -> Any:
    """Call `main` with its arguments, after the context where it asks for it, and return its value."""
    return main(context, **arguments) if pass_context else main(**arguments)
