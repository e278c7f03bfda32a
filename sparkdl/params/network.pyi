"""Made by docs/make_params.py from the declarations in network.py: change those."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self

import torch
from pyspark.ml.param import Param

from sparkdl.params.setting import Settings

class HasNetwork(Settings):
    module: Param[str | torch.nn.Module | type[torch.nn.Module] | Callable[..., torch.nn.Module]]
    def getModule(self) -> str | torch.nn.Module | type[torch.nn.Module] | Callable[..., torch.nn.Module] | None: ...
    def setModule(
        self, value: str | torch.nn.Module | type[torch.nn.Module] | Callable[..., torch.nn.Module] | None
    ) -> Self: ...
    moduleParams: Param[dict[str, Any]]
    def getModuleParams(self) -> dict[str, Any]: ...
    def setModuleParams(self, value: Mapping[str, Any] | None) -> Self: ...

class HasClasses(Settings):
    numClasses: Param[int]
    def getNumClasses(self) -> int: ...
    def setNumClasses(self, value: int | None) -> Self: ...
    classWeights: Param[list[float] | Literal["balanced"]]
    def getClassWeights(self) -> list[float] | Literal["balanced"] | None: ...
    def setClassWeights(self, value: Sequence[float] | Literal["balanced"] | None) -> Self: ...
