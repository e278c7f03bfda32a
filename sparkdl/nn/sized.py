"""What a network that an estimator finds by name has in common with the others: it takes its sizes from the data."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn


class SizedModule(nn.Module):
    """A network whose constructor arguments follow from the data, where the caller does not give them."""

    @classmethod
    @abstractmethod
    def sizes(
        cls, input_shapes: Sequence[tuple[int, ...]], outputs: int | None, params: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the constructor arguments that follow from the data; those in `params` win.

        Parameters
        ----------
        input_shapes : sequence of tuple of int
            Of one row of each input.
        outputs : int or None
            Width of the output that the task needs.
        params : mapping
            The caller's own arguments.

        Raises
        ------
        NetworkError
            If the data does not fit.
        """
