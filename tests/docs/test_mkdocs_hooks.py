"""The documents as pages of the site: links lead to pages, nothing is loaded from elsewhere."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mkdocs_hooks", ROOT / "docs/mkdocs_hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("link", "source", "page", "expected"),
    [
        ("[feed](docs/feed.md#exactness)", "README.md", "project/readme.md", "[feed](../feed.md#exactness)"),
        ("[readme](../README.md)", "docs/index.md", "index.md", "[readme](project/readme.md)"),
        ("[up](../feed.md)", "docs/guides/tables.md", "guides/tables.md", "[up](../feed.md)"),
        ("[digits](../examples/digits.py)", "docs/index.md", "index.md", "[digits](examples/digits.md)"),
        ("[code](sparkdl/errors.py)", "CONTRIBUTING.md", "project/contributing.md", "code"),
        ("[here](#part)", "docs/feed.md", "feed.md", "[here](#part)"),
        ("[web](https://example.org/x)", "docs/feed.md", "feed.md", "[web](https://example.org/x)"),
        ("![curve](docs/figures/history.png)", "README.md", "project/readme.md", "![curve](../figures/history.png)"),
    ],
)
def test_links(hooks: ModuleType, link: str, source: str, page: str, expected: str) -> None:
    assert hooks.with_links_of_the_site(f"See {link}.", source, page) == f"See {expected}."


def test_code_is_left_alone_and_loses_only_the_words_behind_its_language(hooks: ModuleType) -> None:
    code = "```python not-run\n[a](README.md)\n```"
    assert hooks.with_links_of_the_site(code, "README.md", "project/readme.md") == code.replace(" not-run", "")


def test_a_program_is_a_page_with_its_words_in_front(hooks: ModuleType) -> None:
    page = hooks.content("examples/converter.py")
    assert page.startswith("# converter.py\n\n")
    assert '"""' not in page.partition("```python")[0]
    assert "```python\nimport os\n" in page


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('<link rel="stylesheet" href="https://fonts.example.org/css">', ["https://fonts.example.org/css"]),
        ('<script src="//cdn.example.org/x.js"></script>', ["//cdn.example.org/x.js"]),
        ("@font-face { src: url(https://example.org/a.woff2) }", ["https://example.org/a.woff2"]),
        ('<a href="https://example.org">there</a> <img src="figures/a.svg">', []),
    ],
)
def test_what_comes_from_elsewhere_is_found(hooks: ModuleType, text: str, found: list[str]) -> None:
    assert hooks.loaded_from_elsewhere(text) == found
