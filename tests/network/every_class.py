"""A program: every subclass of ``nn.Module`` that can be imported here, made and called by hostile descriptions.

    python tests/network/every_class.py CANARY [all]

Those that torch and torchmetrics bring when they are imported, or with "all" those of every module of theirs. Python
tells of what is started, and of what is compiled, imported or opened that comes from a description, while it is
restored and while its network is then used. The last line is JSON: how often what came out, and which classes are
refused.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import inspect
import io
import json
import pkgutil
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import torch
import torchmetrics
from torch import nn

from sparkdl.errors import NetworkError
from sparkdl.network import restore
from sparkdl.network.allowed import HOOKS, refusal
from sparkdl.network.registry import name_of
from sparkdl.schema import ARRAY, INPUT, DataSchema, Field

SCHEMA = DataSchema((Field("x", INPUT, ARRAY, ("x",), "float32", (3,)),))
STARTS = ("os.exec", "os.fork", "os.posix_spawn", "os.system", "subprocess.", "socket.", "pickle.find_class")
NAMES = [
    "code", "_code", "src", "source", "graph", "_graph", "graph_module", "nodes", "op", "target", "expr", "body",
    "script", "_c", "fn", "forward_fn", "activation", "mode", "padding_mode", "norm_layer", "_flat_weights_names",
    "_all_weights", "all_weights", "num_layers", "layers", "path", "file", "url",
]  # fmt: skip
METHODS = [
    "eval", "train", "forward", "apply", "to", "__call__", "__class__", "__deepcopy__", "__getattr__", "_call_impl",
    "_compiled_call_impl",
]  # fmt: skip


def hostile(canary: str) -> list[Any]:
    """Return values that would be code, a size or a way to one."""
    # The canary's name is in all that comes from a description.
    code = f"open({canary!r}, 'w').close()\ndef forward(self, *a, **k): open({canary!r}, 'w').close()"
    layer = {"$": "layer", "class": "torch.nn.modules.linear:Identity", "id": "inner", "state": {"src": code}}
    return [code, {"": code}, [code], layer, {"$": "class", "v": "torch.nn.modules.linear:Identity"}, 10**12, -1, None]


def imported(packages: Sequence[ModuleType]) -> list[type[nn.Module]]:
    """Import all of some packages, and return every network class there is."""
    for package in packages:
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.", onerror=lambda name: None):
            # The first are torch's own tests; importing a __main__ runs it.
            if module.name.startswith("torch.testing") or module.name.endswith("__main__"):
                continue
            with contextlib.suppress(BaseException), contextlib.redirect_stdout(io.StringIO()):
                importlib.import_module(module.name)
    found: set[type[nn.Module]] = {nn.Module}
    waiting: list[type[nn.Module]] = [nn.Module]
    while waiting:
        waiting += (new := set(waiting.pop().__subclasses__()) - found)
        found |= new
    return sorted(found, key=name_of)


def descriptions(cls: type[nn.Module], values: list[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return hostile descriptions of a class: "shadow" where a value stands for what the class itself has."""

    def layer(state: dict[str, Any]) -> dict[str, Any]:
        return {"kind": "structure", "structure": {"$": "layer", "class": name_of(cls), "id": "", "state": state}}

    own = [name for base in cls.__mro__[:-2] if base is not nn.Module for name in vars(base)]
    shadowed = [name for name in {*own, *METHODS} if callable(getattr(cls, name, None)) or name.startswith("__")]
    for name in shadowed:
        yield "shadow", layer({name: values[3]})
        yield "shadow", layer({"_modules": {name: values[3]}})
    for name in HOOKS:
        yield "shadow", layer({name: {"$": "dict", "v": [[1, values[4]]]}})
    for value in values:
        yield "data", layer(dict.fromkeys(NAMES, value))
    for name in NAMES:
        yield "data", layer({name: values[0]})
        yield "data", layer({name: values[3]})
    try:
        arguments = list(inspect.signature(cls).parameters)
    except (TypeError, ValueError):
        arguments = []
    for value in values:
        if not (isinstance(value, dict) and value.get("$") == "layer"):
            yield "call", {"kind": "class", "name": name_of(cls), "params": dict.fromkeys(arguments, value)}
            yield "call", {"kind": "class", "name": name_of(cls), "params": {"x": value}}


def main(canary: str, packages: Sequence[ModuleType]) -> None:
    """Try them all."""
    classes = imported(packages)
    # Afterwards, because some modules change it: a warning that is shown opens the file it comes from.
    warnings.simplefilter("ignore")
    events: list[str] = []
    active = False

    def hook(event: str, arguments: Any) -> None:
        if active and (event.startswith(STARTS) or canary in repr(arguments)):
            events.append(f"{event} {arguments!r:.200}")

    sys.addaudithook(hook)
    counts: Counter[str] = Counter()
    values = hostile(canary)
    for cls in classes:
        counts["refused" if refusal(cls) else "allowed"] += 1
        for kind, description in descriptions(cls, values):
            text = json.dumps(description)
            active = True
            try:
                module = restore(json.loads(text), {}, SCHEMA).module
            except NetworkError:
                outcome = "refused"
            except Exception as error:
                outcome = type(error).__name__
            else:
                outcome = "made"
                with contextlib.suppress(Exception):
                    copy.deepcopy(module.eval())(torch.ones(2, 3))
            active = False
            counts[f"{kind} {outcome}"] += 1
            if events:
                print("RAN", name_of(cls), text[:300], events[:5], flush=True)
                counts["ran"] += 1
                events.clear()
    print(json.dumps({"counts": counts, "refused": [name_of(cls) for cls in classes if refusal(cls)]}))


if __name__ == "__main__":
    main(sys.argv[1], (torch, torchmetrics) if "all" in sys.argv[2:] else ())
