"""How the ranks talk: the one place where "auto" is resolved, and where what a backend lacks is said first of all."""

from __future__ import annotations

from dataclasses import dataclass

from sparkdl.comm.registry import AUTO, backends_for, spec_for
from sparkdl.errors import SettingError
from sparkdl.spark.facts import SessionFacts


@dataclass(frozen=True)
class Chosen:
    """The backend of a job.

    Attributes
    ----------
    name : str
        That of a `BackendSpec`, never "auto".
    notice : str
        A line for the user where "auto" could not take what it prefers; else empty.
    """

    name: str
    notice: str = ""


def choose_backend(facts: SessionFacts, wanted: str, num_procs: int, *, gpus: bool = False) -> Chosen:
    """Return the backend of a fit: the wanted one, or for "auto" the first that the driver's Python can use.

    Parameters
    ----------
    facts : SessionFacts
    wanted : str
        "auto", or the name of a backend.
    num_procs : int
        One rank needs nobody to talk to, and nothing for that.
    gpus : bool
        Whether the ranks will have GPUs.

    Raises
    ------
    SettingError
        As `check_backend`.
    """
    if wanted != AUTO:
        check_backend(facts, wanted, num_procs, gpus=gpus, remedy="set backend='torch' or leave backend='auto'")
        return Chosen(spec_for(wanted, num_procs).name)
    specs = [spec_for(name, num_procs) for name in backends_for(num_procs) if name != AUTO]
    problems = [spec.problem(gpus) for spec in specs]
    # torch.distributed is a part of torch, so that there is always one.
    spec, preferred = specs[problems.index(None)], problems[0]
    if preferred is None:
        return Chosen(spec.name)
    notice = f"{preferred.found}, so the {num_procs} ranks talk by {spec.title}"
    return Chosen(spec.name, f"{notice}: to get {specs[0].title}, run {preferred.command}")


def check_backend(facts: SessionFacts | None, name: str, num_procs: int, *, gpus: bool, remedy: str) -> None:
    """Refuse a backend that the driver's Python lacks something for.

    Parameters
    ----------
    facts : SessionFacts or None
        None: the ranks run on this host, without Spark.
    name : str
        That was asked for.
    num_procs : int
    gpus : bool
        Whether the ranks will have GPUs.
    remedy : str
        What else the user can do than bring what is missing.

    Raises
    ------
    SettingError
        Names what is missing and the command that brings it.
    """
    # The ranks of a Connect client never run in its Python, and those of a cluster may have another build, for GPUs.
    if facts is not None and facts.connect:
        return
    here = facts is None or facts.shares_host
    problem = spec_for(name, num_procs).problem(gpus and here)
    if problem is not None:
        raise SettingError(f"invalid backend={name!r}: {problem.found}: run {problem.command}, or {remedy}")
