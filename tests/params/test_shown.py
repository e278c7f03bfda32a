from __future__ import annotations

import functools

from torch import nn

from sparkdl.params.shown import describe, shorten


def test_values_are_named_and_never_show_an_address() -> None:
    assert describe(nn.Linear) == "torch.nn.modules.linear.Linear"
    assert describe(nn.Linear(2, 1)) == "torch.nn.modules.linear.Linear"
    assert describe(functools.partial(nn.Linear, 2)) == "functools.partial"
    assert describe({"hidden": [128, 64], "norm": None}) == "{hidden: [128, 64], norm: null}"
    assert describe(0.001) == "0.001"
    assert describe(True) == "true"


def test_credentials_in_urls_are_hidden() -> None:
    assert describe("s3://user:hunter2@bucket/cache") == "s3://***@bucket/cache"
    assert describe({"url": "s3://user:hunter2@bucket"}) == "{url: s3://***@bucket}"


def test_a_long_text_is_cut() -> None:
    assert shorten("0123456789", 10) == "0123456789"
    assert shorten("0123456789a", 10) == "0123456..."
