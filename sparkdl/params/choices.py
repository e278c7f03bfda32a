"""Values of a search's grid that are no JSON: classes, functions, networks and callbacks.

Spark's writers of CrossValidator and TrainValidationSplit put every value of a ParamMap into JSON, but for stages,
which they save in folders of their own. So what `ParamGridBuilder` makes holds such a value as a stage.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

from sparkdl.params.secrets import Secret


class Choice:
    """Base of the one class of such stages, which is made where stages are saved.

    Attributes
    ----------
    param : str
        Name of the Param that takes the value.
    value : object
    """

    made: ClassVar[type[Choice] | None] = None
    param: str
    value: Any

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        Choice.made = cls


def choice_of(param: str, value: Any) -> Any:
    """Return what a ParamMap of a grid holds of a value: itself where it is JSON, else a stage that can be saved."""
    if Choice.made is None or isinstance(value, Secret) or _is_json(value):
        return value
    made = Choice.made()
    made.param, made.value = param, value
    return made


def chosen(value: Any) -> Any:
    """Return a value itself, whether a stage stands for it or not."""
    return value.value if isinstance(value, Choice) else value


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
