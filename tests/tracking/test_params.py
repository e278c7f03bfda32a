from __future__ import annotations

from sparkdl.tracking.params import MAX_VALUE, as_text


def test_secrets_and_unset_params_are_left_out() -> None:
    text = as_text({"epochs": 3, "storageOptions": {"key": "hunter2"}, "weightCol": None})
    assert text == {"epochs": "3"}


def test_credentials_in_urls_are_hidden() -> None:
    text = as_text({"cacheUrl": "s3://user:hunter2@bucket/cache", "checkpointUrl": "hdfs://name:8020/a@b"})
    assert text == {"cacheUrl": "s3://***@bucket/cache", "checkpointUrl": "hdfs://name:8020/a@b"}


def test_long_values_are_cut() -> None:
    (text,) = as_text({"featuresCols": [f"column_{i}" for i in range(1000)]}).values()
    assert len(text) == MAX_VALUE
    assert text.endswith("...")
