"""Made by docs/make_params.py from the declarations in reporting.py: change those."""

from typing import Self

from pyspark.ml.param import Param

from sparkdl.params.setting import Settings

class HasReporting(Settings):
    verbose: Param[int]
    def getVerbose(self) -> int: ...
    def setVerbose(self, value: int | None) -> Self: ...
    mlflow: Param[str | bool]
    def getMlflow(self) -> str | bool: ...
    def setMlflow(self, value: str | bool | None) -> Self: ...
