from __future__ import annotations

from sparkdl.errors import did_you_mean


def test_the_closest_name_is_offered_else_all_of_them() -> None:
    assert did_you_mean("hiden", ["hidden", "dropout"]) == "did you mean 'hidden'?"
    assert did_you_mean("STEPLR", ["StepLR", "OneCycleLR"]) == "did you mean 'StepLR'?"
    assert did_you_mean("kernel", ["hidden", "dropout"]) == "take one of hidden, dropout"
    assert did_you_mean("kernel", ["hidden"], "") == ""
    assert did_you_mean("kernel", []) == "take one of "
