"""What is wrong with the installed Horovod: asked in a fresh interpreter, as a single rank."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from sparkdl.commands.build_horovod_steps import BuildError, Log
from sparkdl.commands.build_horovod_tools import Torch

CHECK_SECONDS = 300.0

# Rank and size come from the environment: one rank by itself when it says nothing.
_PROGRAM = """
import json, pathlib, sys
import torch
import horovod.torch as hvd
# The package lets itself be imported without what was compiled; this says why it is not there.
import horovod.torch.mpi_lib_v2
metadata = json.loads((pathlib.Path(hvd.__file__).parent.parent / "metadata.json").read_text())
assert metadata["pytorch"] == sys.argv[1], f"built for torch {metadata['pytorch']}, this is torch {sys.argv[1]}"
assert bool(hvd.nccl_built()) == (sys.argv[2] == "nccl"), f"nccl_built() is {hvd.nccl_built()}"
assert hvd.gloo_built(), "gloo_built() is False"
hvd.init()
assert hvd.size() == 1, f"size() is {hvd.size()}"
total = hvd.allreduce(torch.arange(3.0), op=hvd.Sum)
assert total.tolist() == [0.0, 1.0, 2.0], f"allreduce gave {total.tolist()}"
hvd.shutdown()
"""


def fault(torch: Torch, kind: str, log: Log | None = None) -> str | None:
    """Initialise the installed Horovod, reduce a tensor, and compare what it was built for; return what failed.

    Parameters
    ----------
    torch : Torch
        That it has to be built for.
    kind : str
        "gloo" or "nccl".
    log : Log, optional
        Takes the output.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HOROVOD_")}
    # Python puts the working folder first on sys.path, where a folder named horovod could lie.
    with tempfile.TemporaryDirectory() as nowhere:
        log = log or Log(Path(nowhere) / "log", lasting=False)
        command = [sys.executable, "-c", _PROGRAM, torch.version, kind]
        try:
            log.run(command, "the check", CHECK_SECONDS, env=environment, cwd=Path(nowhere))
        except BuildError as error:
            return str(error)
    return None
