"""What `mkdocs.yml` needs beyond its plugins: pages that lie outside of docs/, and a look at what the site loads.

The documents are written to be read in the repository too, so their links are those of files. On the site a link to a
file that has a page leads to that page; of a link to any other file only its text is left.
"""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCS = "docs"

PROJECT = {
    "README.md": "project/readme.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "CHANGELOG.md": "project/changelog.md",
}
"""Documents at the top of the repository, and the pages that they become."""

_FENCE = re.compile(r"^(```.*?^```$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_LOADED = re.compile(
    r"<(?:script|img|link|iframe|source)\b[^>]*?\b(?:src|href)=[\"']?((?:https?:)?//[^\"'\s>]+)", re.IGNORECASE
)
_IMPORTED = re.compile(r"(?:@import\s+[\"']?|url\([\"']?)((?:https?:)?//[^\"')\s]+)")


def pages() -> dict[str, str]:
    """Return the page of each file outside of docs/ that has one, by its path in the repository."""
    examples = sorted(path.name for path in (ROOT / "examples").glob("*.py") if path.name != "make_notebook.py")
    return PROJECT | {f"examples/{name}": f"examples/{name[:-3]}.md" for name in examples}


def content(path: str) -> str:
    """Return the Markdown of a page that lies outside of docs/; of a program its docstring comes first."""
    text = (ROOT / path).read_text()
    if not path.endswith(".py"):
        return text
    program = ast.parse(text)
    said = (ast.get_docstring(program) or "").partition("\n\n")
    body = "\n".join(text.splitlines()[program.body[0].end_lineno :]).strip()
    return f"# {Path(path).name}\n\n{said[0]}\n\n{said[2]}\n\n```python\n{body}\n```\n"


def with_links_of_the_site(markdown: str, source: str, page: str) -> str:
    """Return a document with links between pages instead of links between files.

    Parameters
    ----------
    markdown : str
    source : str
        Path of the document in the repository.
    page : str
        Path of its page.
    """
    parts = _FENCE.split(markdown)
    # mkdocs takes no words behind the language of a code block; tests read them.
    fences = [re.sub(r"^(```\w+) [^\n]*", r"\1", part) for part in parts[1::2]]
    texts = [_LINK.sub(lambda link: _rewritten(link, source, page), part) for part in parts[::2]]
    return "".join(part for pair in zip(texts, [*fences, ""], strict=True) for part in pair)


def _rewritten(link: re.Match[str], source: str, page: str) -> str:
    mark, text, target = link.groups()
    file, sharp, anchor = target.partition("#")
    if not file or re.match(r"[a-z]+:", target):
        return link[0]
    path = os.path.normpath(os.path.join(os.path.dirname(source), file))
    inside = path.startswith(f"{DOCS}/") and not path.endswith(".py")
    there = path.removeprefix(f"{DOCS}/") if inside else pages().get(path)
    if there is None:
        return text
    return f"{mark}[{text}]({os.path.relpath(there, os.path.dirname(page) or '.')}{sharp}{anchor})"


def loaded_from_elsewhere(text: str) -> list[str]:
    """Return the addresses of other hosts that a page or a style sheet loads by itself."""
    return [*_LOADED.findall(text), *_IMPORTED.findall(text)]


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that lie outside of docs/."""
    from mkdocs.structure.files import File

    for path, page in pages().items():
        files.append(File.generated(config, page, content=content(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Make links between files links between pages."""
    uri = page.file.src_uri
    sources = {there: path for path, there in pages().items()}
    return with_links_of_the_site(markdown, sources.get(uri, f"{DOCS}/{uri}"), uri)


def on_post_build(config: Any) -> None:
    """Refuse a site that loads a font, a script or an image from another host."""
    from mkdocs.exceptions import PluginError

    site = Path(config.site_dir)
    for path in sorted([*site.rglob("*.html"), *site.rglob("*.css")]):
        found = loaded_from_elsewhere(path.read_text())
        if found:
            raise PluginError(f"{path.relative_to(site)} loads {found[0]}: the site must be complete in itself")
