"""What `help` shows: it names what there is, explains every Param, and needs no documents."""

from __future__ import annotations

import pydoc
from types import ModuleType

import pytest

import sparkdl
import sparkdl.data
import sparkdl.nn
import sparkdl.train
from sparkdl.params.setting import Setting

STAGES = [
    sparkdl.TorchClassifier,
    sparkdl.TorchClassificationModel,
    sparkdl.TorchEstimator,
    sparkdl.TorchModel,
    sparkdl.TorchRegressor,
    sparkdl.TorchRegressionModel,
]


def shown(thing: object) -> str:
    return pydoc.plain(pydoc.render_doc(thing))


@pytest.mark.parametrize("package", [sparkdl, sparkdl.data, sparkdl.train], ids=lambda package: package.__name__)
def test_a_package_shows_its_names(package: ModuleType) -> None:
    text = shown(package)
    assert [name for name in package.__all__ if name not in text and name != "__version__"] == []
    assert "docs/" not in text


def test_the_first_page_says_what_there_is() -> None:
    first = "\n".join(shown(sparkdl).splitlines()[:30])
    missing = [name for name in sparkdl.__all__ if name not in first and not name.startswith("__")]
    assert missing == []


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
def test_a_stage_explains_its_params(stage: type) -> None:
    text = str(stage.__doc__)
    params = [value for value in (getattr(stage, name) for name in dir(stage)) if isinstance(value, Setting)]
    assert params
    lines = text.splitlines()
    assert [param.name for param in params if not any(line.startswith(f"{param.name} : ") for line in lines)] == []
    assert max(map(len, lines)) <= 120
    assert text.index("Params\n------") > 0
    assert "docs/" not in text
