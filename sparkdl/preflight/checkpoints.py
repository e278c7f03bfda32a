"""Settings of checkpoints that cannot work, refused before anything runs."""

from __future__ import annotations

from sparkdl.errors import SettingError
from sparkdl.params.stages import TrainingParams
from sparkdl.spark.facts import SessionFacts
from sparkdl.storage import access
from sparkdl.train.checkpoint.config import EXACT

_NEED_A_FOLDER = ("checkpointSteps", "checkpointMinutes")


def check_checkpoints(stage: TrainingParams, facts: SessionFacts, *, gpus: bool) -> None:
    """Refuse a folder that cannot be used, and promises that cannot be kept.

    Parameters
    ----------
    stage : TrainingParams
    facts : SessionFacts
    gpus : bool
        Whether the ranks will have GPUs.

    Raises
    ------
    SettingError
        The URL is none, settings contradict each other, or ``resume='exact'`` cannot be bit for bit.
    ClusterError
        The folder cannot be opened, as far as this can be told here.
    """
    url = stage.getCheckpointUrl()
    exact = stage.getResume() == EXACT
    if not url:
        without = [name for name in _NEED_A_FOLDER if stage.isSet(name)] + ["resume"] * exact
        if without:
            value = stage.getOrDefault(without[0])
            raise SettingError(
                f"invalid {without[0]}={value!r}: there are no checkpoints without a folder for them, set checkpointUrl"
            )
        return
    if exact:
        _check_exact(stage, gpus)
    # Where driver and tasks share the host it is tried here, elsewhere by rank 0.
    access.check_folder("checkpointUrl", url, here=facts.local and not facts.connect)


def named(url: str) -> str:
    """Return the setting and its value, for sentences."""
    return f"checkpointUrl={access.shown(url)!r}"


def _check_exact(stage: TrainingParams, gpus: bool) -> None:
    least, ranks = stage.getMinProcs(), stage.getNumProcs()
    if gpus or stage.getDevice() == "cuda":
        raise SettingError(
            "invalid resume='exact': kernels of GPUs add up in another order each time, so that weights are not the "
            "same bit for bit; set device='cpu', or resume='auto'"
        )
    if least is not None and least < ranks:
        raise SettingError(
            f"invalid resume='exact': with minProcs={least} a restart may have fewer than numProcs={ranks} ranks, "
            "whose random numbers and sums are others; leave minProcs out, or set resume='auto'"
        )
