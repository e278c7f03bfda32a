"""Whether another project's package of the same name lies among sparkdl's own files."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import sparkdl
from sparkdl.errors import ClusterError

_NAMESAKE = "sparkdl"
"""PyPI's distribution of that name is another project's; ours is sparkdl-torch."""


def check_packages() -> None:
    """Refuse an environment where two distributions have written into the folder ``sparkdl/``.

    Raises
    ------
    ClusterError
        If so: whose files they are now depends on which came last.
    """
    try:
        other = distribution(_NAMESAKE)
    except PackageNotFoundError:
        return
    folder = Path(sparkdl.__file__).parent
    # A checkout may hold the notes of a build, which name no files.
    if other.read_text("RECORD") and Path(str(other.locate_file("sparkdl"))).resolve() == folder.resolve():
        raise ClusterError(
            f"{folder} holds files of another project's package, sparkdl {other.version}, among those of "
            "sparkdl-torch: run pip uninstall sparkdl sparkdl-torch, then install sparkdl-torch again"
        )
