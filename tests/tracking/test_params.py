from __future__ import annotations

import functools

from torch import nn

from sparkdl.tracking.params import MAX_VALUE, as_text, describe


def test_secrets_and_unset_params_are_left_out() -> None:
    text = as_text({"epochs": 3, "storageOptions": {"key": "hunter2"}, "weightCol": None})
    assert text == {"epochs": "3"}


def test_credentials_in_urls_are_hidden() -> None:
    text = as_text({"cacheUrl": "s3://user:hunter2@bucket/cache", "checkpointUrl": "hdfs://name:8020/a@b"})
    assert text == {"cacheUrl": "s3://***@bucket/cache", "checkpointUrl": "hdfs://name:8020/a@b"}


def test_values_are_named_and_never_show_an_address() -> None:
    assert describe(nn.Linear) == "torch.nn.modules.linear.Linear"
    assert describe(nn.Linear(2, 1)) == "torch.nn.modules.linear.Linear"
    assert describe(functools.partial(nn.Linear, 2)) == "functools.partial"
    assert describe({"hidden": [128, 64], "norm": None}) == "{hidden: [128, 64], norm: null}"
    assert describe(0.001) == "0.001"
    assert describe(True) == "true"


def test_long_values_are_cut() -> None:
    (text,) = as_text({"featuresCols": [f"column_{i}" for i in range(1000)]}).values()
    assert len(text) == MAX_VALUE
    assert text.endswith("...")
