"""Mixed precision: autocast, and the scale that keeps float16 gradients from vanishing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from sparkdl.blame import in_a_line
from sparkdl.errors import SettingError, invalid, one_of

_DTYPES = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
_GROWTH_STEPS = 2000


def check_device(precision: str, device: str) -> None:
    """Refuse float16 on a CPU, which has no fast arithmetic for it; SettingError says what else there is."""
    if precision == "fp16" and device == "cpu":
        raise SettingError("precision='fp16' needs a GPU, and the device is the cpu: take 'bf16' or 'float32'")


@contextmanager
def matmul_precision(name: str) -> Iterator[None]:
    """Let float32 matrix products be less precise inside the block: "high" or "medium"; "highest" changes nothing.

    Raises
    ------
    SettingError
        This process has settings that torch does not mix with it.
    """
    if name == "highest":
        yield
        return
    try:
        before = torch.get_float32_matmul_precision()
    except RuntimeError as error:
        raise SettingError(
            f"invalid matmulPrecision={name!r}: this process has set torch.backends' fp32_precision, which torch does "
            "not mix with it: set one of them"
        ) from error
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class Precision:
    """The number format of the forward pass, and the scale of the loss.

    The rule of the scale is torch.amp.GradScaler's: halved by a step that is not finite, doubled after 2000 good ones.
    All ranks see the same summed gradients, so they decide alike.

    GradScaler itself would not do: it does not see a loss that overflows while its gradients are finite, halves without
    end, and refuses parameters of float16. It also looks at every gradient once more, where the norm that comes with
    the sum over the ranks has told already whether all of them are finite.

    Parameters
    ----------
    name : str
        "float32", "bf16" or "fp16".
    device : torch.device

    Raises
    ------
    SettingError
        The name is unknown, or fp16 is asked for on a CPU.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        if name not in _DTYPES:
            raise SettingError(invalid("precision", name, one_of(_DTYPES)))
        check_device(name, device.type)
        self._name, self._dtype = name, _DTYPES[name]
        self._device = device.type
        self.scales = name == "fp16"
        self.scale = 65536.0 if self.scales else 1.0
        self._good = 0

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context of a forward pass."""
        return nullcontext() if self._dtype is None else torch.autocast(self._device, dtype=self._dtype)

    def without_sparse(self, error: Exception) -> Exception:
        """Return what to say of a product with a sparse tensor that torch has not for these numbers on this device."""
        if self._dtype is None:
            return error
        return SettingError(
            f"precision={self._name!r} with sparseTensors=True: torch has no such product of sparse tensors on "
            f"{self._device} ({in_a_line(error)}): set precision to 'float32', leave sparseTensors out, or let forward "
            "compute this product inside torch.autocast(..., enabled=False)"
        )

    def shrink(self, used: float) -> bool:
        """Halve the scale after a step that was not finite; return whether it is worth going on.

        Parameters
        ----------
        used : float
            The scale of that step. It may be an older one, after which the scale was halved already.
        """
        if used <= self.scale:
            self.scale /= 2
        self._good = 0
        return self.scale >= 1.0

    def grow(self) -> None:
        """Count a good step."""
        if self.scales:
            self._good += 1
            if self._good >= _GROWTH_STEPS:
                self.scale, self._good = self.scale * 2, 0

    def state_dict(self) -> dict[str, float]:
        """Return the scale and the good steps since it was changed."""
        return {"scale": self.scale, "good": self._good}

    def load_state_dict(self, saved: Mapping[str, float]) -> None:
        """Go on from what `state_dict` has returned."""
        self.scale, self._good = float(saved["scale"]), int(saved["good"])
