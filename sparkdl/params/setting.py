"""The declaration of a setting as a Spark ML Param, and the base class that makes its accessors from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from inspect import Parameter, Signature, cleandoc
from textwrap import wrap
from typing import TYPE_CHECKING, Any, TypeVar

from pyspark.ml.param import Param, Params

from sparkdl.errors import SettingError, SettingTypeError, did_you_mean, invalid
from sparkdl.params.choices import choice_of, chosen
from sparkdl.params.kinds import Kind, WrongObjectError
from sparkdl.params.secrets import concealed, reveal
from sparkdl.params.shown import describe, shorten
from sparkdl.report.html import table

if TYPE_CHECKING:
    from typing import Self

P = TypeVar("P", bound=Params)

_PUBLIC = ("sparkdl", "sparkdl.connect")
"""Modules in which users find the stages."""
_WIDTH = 100
"""Columns of the list of Params in ``help``."""
_MAX_SHOWN = 200
"""Characters of a value in a notebook."""


class Setting(Param[Any]):
    """A Param that knows what it takes and what it is where nobody has set it.

    Parameters
    ----------
    kind : Kind
        What it takes.
    default : object
        None: undefined until it is set.
    doc : str
        Its meaning, in the words of ``explainParams``.
    secret : bool
        Its value is neither shown, logged nor saved. A ParamMap holds it, and a URL with a password, as a `Secret`.
    """

    def __init__(self, kind: Kind, default: Any, doc: str, *, secret: bool = False) -> None:
        super().__init__(Params._dummy(), "", doc)
        self.kind = kind
        self.default = default
        self.secret = secret

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        self.typeConverter = partial(_for_a_grid, name, self.kind, self.secret)


def _for_a_grid(name: str, kind: Kind, secret: bool, value: Any) -> Any:
    """Return what `ParamGridBuilder` puts into a ParamMap; a stage's own ParamMap holds the value itself."""
    return choice_of(name, _converted(name, kind, secret, chosen(value)))


def _converted(name: str, kind: Kind, secret: bool, value: Any) -> Any:
    try:
        return concealed(kind.accept(reveal(value)), secret)
    except (TypeError, ValueError, OverflowError) as error:
        needs = f"{kind.needs}: {error}" if isinstance(error, WrongObjectError) else kind.needs
        # A secret is shown nowhere.
        said = f"invalid {name}: expected {needs}" if secret else invalid(name, value, needs)
        raise (SettingTypeError if isinstance(error, TypeError) else SettingError)(said) from None


class Settings(Params):
    """Base of every mixin of declarations: ``getX`` and ``setX`` for each, ``setParams``, and None for "not set".

    A getter returns None where its Param is neither set nor has a default. A setter, a keyword or a ParamMap that
    gives None takes the value away, so that the default holds again. The docstring of a public stage goes on with the
    list of its Params, so that ``help`` needs no documents.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, setting in list(vars(cls).items()):
            if isinstance(setting, Setting):
                _add(cls, _getter(name, setting.doc), f"get{name[0].upper()}{name[1:]}")
                _add(cls, _setter(name, setting.doc), f"set{name[0].upper()}{name[1:]}")
        cls.__signature__ = _keywords(cls)  # type: ignore[attr-defined]
        if cls.__module__ in _PUBLIC and not cls.__name__.startswith("_") and cls.__doc__:
            cls.__doc__ = "\n".join([cleandoc(cls.__doc__), "", "Params", "------", *_explained(cls)])

    def __init__(self, **settings: Any) -> None:
        # Spark's own mixins come later in the order of bases: their defaults are set first, ours hold.
        super().__init__()
        for param in self.params:
            if isinstance(param, Setting) and param.default is not None:
                self._setDefault(**{param.name: param.default})
        self.setParams(**settings)

    def setParams(self, **settings: Any) -> Self:
        """Set several Params by name; None takes a value away."""
        for name in settings:
            if not self.hasParam(name):
                hint = did_you_mean(name, [param.name for param in self.params], "explainParams() lists them")
                raise TypeError(f"{type(self).__name__} has no Param {name!r}: {hint}")
        return self._set(**settings)

    def set(self, param: Param[Any], value: Any) -> None:
        """Set one Param; None takes its value away."""
        self._shouldOwn(param)
        self._set(**{param.name: value})

    def explainParam(self, param: str | Param[Any]) -> str:
        """Return name, meaning, default and value of a Param; the value of a secret one is left out."""
        resolved = self._resolveParam(param)
        if isinstance(resolved, Setting) and resolved.secret:
            state = "set, not shown" if self.isSet(resolved) else f"default: {resolved.default}"
            return f"{resolved.name}: {resolved.doc} ({state})"
        return super().explainParam(param)

    def _repr_html_(self) -> str:
        """Return a table for notebooks: what it is, and the Params that are set, without secrets."""
        facts = self._facts()
        rows = [("uid", self.uid), *facts.items()]
        for param in self.params:
            if self.isSet(param) and param.name not in facts:
                secret = isinstance(param, Setting) and param.secret
                value = "set, not shown" if secret else shorten(describe(self.getOrDefault(param)), _MAX_SHOWN)
                rows.append((param.name, value))
        return table(type(self).__name__, rows)

    def _facts(self) -> dict[str, str]:
        """Return what there is to say about the stage besides its Params."""
        return {}

    def _set(self: P, **settings: Any) -> P:
        for name, value in settings.items():
            param = self.getParam(name)
            if value is None:
                self._paramMap.pop(param, None)
            else:
                self._paramMap[param] = chosen(param.typeConverter(value))
        return self


class _Keywords(Signature):
    """A signature of many names, which ``help`` shows in lines."""

    def __str__(self) -> str:
        return "\n".join(wrap(super().__str__(), _WIDTH, subsequent_indent="    ", break_on_hyphens=False))


def _keywords(cls: type[Settings]) -> Signature | None:
    """Return the signature that editors and ``help`` show for a constructor that takes every Param by name."""
    if cls.__init__ is not Settings.__init__:
        return None
    names = [name for name in dir(cls) if isinstance(getattr(cls, name, None), Setting)]
    return _Keywords([Parameter(name, Parameter.KEYWORD_ONLY, default=getattr(cls, name).default) for name in names])


def _explained(cls: type) -> Iterator[str]:
    """Yield the lines of a list of all Params of a class, in the order of their declarations."""
    found: dict[str, Setting] = {}
    for base in cls.__mro__:
        for name, value in vars(base).items():
            if isinstance(value, Setting):
                found.setdefault(name, value)
    for name, setting in found.items():
        default = "not set" if setting.default is None else f"default {setting.default!r}"
        yield f"{name} : {setting.kind.annotation}, {default}"
        yield from wrap(setting.doc, _WIDTH, initial_indent="    ", subsequent_indent="    ")


def _add(cls: type, method: Callable[..., Any], name: str) -> None:
    if name not in vars(cls):
        method.__name__, method.__qualname__ = name, f"{cls.__qualname__}.{name}"
        method.__module__ = cls.__module__
        setattr(cls, name, method)


def _getter(name: str, doc: str) -> Callable[..., Any]:
    def get(self: Params) -> Any:
        return reveal(self.getOrDefault(name)) if self.isDefined(name) else None

    get.__doc__ = f"Return `{name}`, its default, or None: {doc}."
    return get


def _setter(name: str, doc: str) -> Callable[..., Any]:
    def set_(self: Params, value: Any) -> Params:
        return self._set(**{name: value})

    set_.__doc__ = f"Set `{name}`: {doc}. None takes its value away."
    return set_
