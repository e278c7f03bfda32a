"""What an exception of a forward pass is about: sizes and types that do not fit each other, memory, or else."""

from __future__ import annotations

import dis
import os
import re
import site
import sysconfig
from pathlib import Path
from types import TracebackType

import torch

_TORCH = str(Path(torch.__file__).parent) + os.sep
_OURS = str(Path(__file__).parent) + os.sep
_INSTALLED = tuple({*site.getsitepackages(), *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))})

_MISFIT = re.compile(
    r"shape|\bsizes?\b|dimension|\d-?D\b|\bdims?\b|channels|dtype|scalar type|same type|same number of elements"
    r"|out of (?:range|bounds)|too many indices|\bexpects? .*\binput|input has inconsistent|should contain \d+ elements"
    r"|input_size|embedding dim",
    re.IGNORECASE,
)
"""How torch, and numpy, word what does not fit."""

_WRONG_COUNT = re.compile(r"\(\) (?:takes|missing) \d")
_NOT_ABOUT_SIZES = re.compile(r"memory|same device|CUDA|GPU|cuda")
_NO_MEMORY = re.compile(
    r"DefaultCPUAllocator: can't allocate memory|CUDA error: out of memory|CU[A-Z]+_STATUS_ALLOC_FAILED"
)
"""How torch words it where the error is not a class of its own: its CPU allocator, CUDA, cuBLAS, cuDNN."""
_KINDS = (RuntimeError, ValueError, IndexError, TypeError, AssertionError)


def is_misfit(error: BaseException) -> bool:
    """Tell whether torch refused sizes or types that do not fit each other, and nobody's own ``raise`` said so."""
    frames = _frames(error)
    if not isinstance(error, _KINDS) or isinstance(error, NotImplementedError) or not frames:
        return False
    last = frames[-1]
    if _raises(last) and not last.tb_frame.f_code.co_filename.startswith(_TORCH):
        return False
    text = str(error)
    if isinstance(error, TypeError):
        # Only the outermost network is called with what the data gives.
        return _WRONG_COUNT.search(text) is not None and not _users(frames)
    return _MISFIT.search(text) is not None and _NOT_ABOUT_SIZES.search(text) is None


def out_of_memory(error: BaseException) -> bool:
    """Tell whether it is torch's sign that memory ran out, on a CPU or a GPU."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error)) is not None


def place_of(error: BaseException) -> str:
    """Return the line of the user's code that the exception came through last, ``"net.py, line 7, in forward"``."""
    users = _users(_frames(error))
    if not users:
        return ""
    frame = users[-1].tb_frame
    return f"{frame.f_code.co_filename}, line {users[-1].tb_lineno}, in {frame.f_code.co_name}"


def in_a_line(error: BaseException) -> str:
    """Return class and text of an exception, of several lines the first."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _frames(error: BaseException) -> list[TracebackType]:
    found: list[TracebackType] = []
    trace = error.__traceback__
    while trace is not None:
        found.append(trace)
        trace = trace.tb_next
    return found


def _users(frames: list[TracebackType]) -> list[TracebackType]:
    """The frames of the user's code: neither torch's nor ours, nor an installed package's if there are others."""
    outside = [f for f in frames if not f.tb_frame.f_code.co_filename.startswith((_TORCH, _OURS))]
    own = [f for f in outside if not f.tb_frame.f_code.co_filename.startswith(_INSTALLED)]
    return own or outside


def _raises(trace: TracebackType) -> bool:
    """Whether the frame itself has raised, by ``raise`` or ``assert``, and not what it called."""
    instruction = trace.tb_frame.f_code.co_code[trace.tb_lasti]
    return dis.opname[instruction] == "RAISE_VARARGS"
