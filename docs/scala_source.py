"""Scala as text: literals, comments, traits and imports, in lines that scalafmt leaves as they are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from textwrap import wrap
from typing import Any

from pyspark.ml.param import shared as spark_shared

WIDTH = 120
ONLY_IN_PYTHON = {"HasBatchSize", "HasLearningRate", "HasLoss"}
"""Mixins of pyspark that Spark's Scala has not."""


def literal(value: Any) -> str:
    """Return a value as Scala writes it."""
    if isinstance(value, (dict, list)):
        return literal(json.dumps(value))
    return json.dumps(value, ensure_ascii=False)


def upper(name: str) -> str:
    """Return a name with a capital."""
    return name[0].upper() + name[1:]


def doc_lines(text: str, indent: str = "  ") -> Iterator[str]:
    """Yield the lines of a Scaladoc comment."""
    text = text.replace("*/", "* /").rstrip(".") + "."
    if len(indent) + len(text) + len("/**  */") <= WIDTH:
        yield f"{indent}/** {text} */"
        return
    yield f"{indent}/**"
    yield from wrap(text, WIDTH, initial_indent=f"{indent} * ", subsequent_indent=f"{indent} * ")
    yield f"{indent} */"


def text_lines(text: str, indent: str) -> Iterator[str]:
    """Yield a text as Scala's literals, in lines that fit, with a comma behind it."""
    pieces = wrap(text, WIDTH - len(indent) - 10, drop_whitespace=False, break_on_hyphens=False)
    for i, piece in enumerate(pieces):
        last = i == len(pieces) - 1
        yield indent + ("  " if i else "") + literal(piece) + ("," if last else " +")


def extends(names: list[str], start: str, end: str) -> Iterator[str]:
    """Yield the lines that begin a trait."""
    line = f"{start} extends {' with '.join(names)}{end}"
    if len(line) <= WIDTH:
        yield line
        return
    yield start
    yield f"    extends {names[0]}"
    yield from (f"    with {name}" for name in names[1:-1])
    yield f"    with {names[-1]}{end}"


def file_of(lines: list[str], source: str, own_imports: tuple[str, ...] = ()) -> str:
    """Return a file: what made it, the imports that its lines need, and its lines."""
    body = "\n".join(lines)
    code = [line for line in lines if not line.lstrip().startswith(("/**", "*", '"'))]
    words = set(re.findall(r"\w+", "\n".join(code)))
    params = sorted(
        {"BooleanParam", "DoubleArrayParam", "DoubleParam", "IntParam", "Param", "Params", "StringArrayParam"} & words
    )
    shared = sorted((set(vars(spark_shared)) - ONLY_IN_PYTHON - {"Param", "Params"}) & words)
    util = [f"{name} => Java{name}" for name in ("List", "Map") if f"Java{name}" in words]
    groups = [
        imported("java.util", util, braces=True),
        imported("org.apache.spark.ml.param", params),
        imported("org.apache.spark.ml.param.shared", shared),
    ]
    spark = [line for group in groups[1:] for line in group]
    blocks = ["\n".join(lines) for lines in (groups[0], spark, list(own_imports)) if lines]
    head = f"// Made by docs/make_params.py from {source}: change those.\npackage sparkdl.params\n"
    return "\n".join([head, *(f"{block}\n" for block in blocks), body.strip(), ""]).replace("\n\n\n", "\n\n")


def imported(package: str, names: list[str], *, braces: bool = False) -> list[str]:
    """Return the lines of one import, none where there are no names."""
    if not names:
        return []
    line = (
        f"import {package}.{names[0]}" if len(names) == 1 and not braces else f"import {package}.{{{', '.join(names)}}}"
    )
    if len(line) <= WIDTH:
        return [line]
    return [f"import {package}.{{", *(f"  {name}," for name in names[:-1]), f"  {names[-1]}", "}"]
