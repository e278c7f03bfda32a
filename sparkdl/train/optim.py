"""Optimizers and learning rate schedules, by name, class or function."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from sparkdl.errors import NetworkError, SettingError, did_you_mean
from sparkdl.train.config import TrainConfig

_NEEDS_CLOSURE = {"lbfgs"}
_NEEDS_SPARSE = {"sparseadam"}
_TRAINED = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_PLATEAU = "ReduceLROnPlateau"
_FUSED = {
    "adam": ("cpu", "cuda"),
    "adamw": ("cpu", "cuda"),
    "sgd": ("cpu", "cuda"),
    # Until torch 2.12 its class takes the argument on a GPU too, and the first step raises.
    "adagrad": ("cpu",),
}
"""Optimizers that have one call for all parameters, and the devices on which every torch since 2.4 has it."""


def trainable(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that require a gradient; the others stay untouched.

    Raises
    ------
    NetworkError
        There is none, one has no size yet, or numbers that no optimizer changes.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    if not parameters:
        raise NetworkError("the network has no parameter to train: give it layers, or set requires_grad on some")
    if any(isinstance(p, nn.UninitializedParameter) for p in parameters):
        raise NetworkError("the network has lazy layers without sizes: run it once on an example before it is trained")
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and parameter.dtype not in _TRAINED:
            kind = str(parameter.dtype).removeprefix("torch.")
            raise NetworkError(
                f"the parameter {name!r} is {kind}, and only float32, float64, bfloat16 and float16 can be trained: "
                "set requires_grad to False, or give another dtype (of complex numbers, real and imaginary parts)"
            )
    return parameters


def step_function(optimizer: Optimizer) -> Callable[[], object]:
    """Return what takes a step of an optimizer, without torch's compiler.

    torch.optim's own step imports torch._dynamo, which takes as long as importing torch did. Where nobody has imported
    it and nobody has hooked into the step, the method inside does the same.
    """
    inner: Any = inspect.unwrap(type(optimizer).step)
    is_known = type(optimizer).__module__.startswith("torch.optim.") and not optimizer.defaults.get("differentiable")

    def step() -> object:
        hooks = (
            optimizer._optimizer_step_pre_hooks,
            optimizer._optimizer_step_post_hooks,
            _global_optimizer_pre_hooks,
            _global_optimizer_post_hooks,
        )
        if not is_known or "torch._dynamo" in sys.modules or any(hooks):
            return optimizer.step()
        with torch.no_grad():
            inner(optimizer)
        # By this a schedule knows that the optimizer has stepped before it.
        optimizer._opt_called = True  # type: ignore[attr-defined]
        return None

    return step


def spare_dynamo() -> None:
    """Let this process use optimizers without importing torch._dynamo. For ranks only: it marks methods of torch.

    Some methods of an optimizer import the compiler only to be left alone by it.
    """
    for method in vars(Optimizer).values():
        plain = getattr(method, "__wrapped__", None)
        if plain is not None and "torch._dynamo" not in sys.modules:
            # The name by which torch._compile finds the method once the compiler has been told.
            plain.__dict__.setdefault("__dynamo_disable", plain)


def make_optimizer(config: TrainConfig, parameters: Sequence[nn.Parameter]) -> Optimizer:
    """Return the optimizer that the settings stand for.

    Parameters
    ----------
    config : TrainConfig
        optimizer (torch.optim's name in lower case, a class, or a function of the parameters),
        optimizer_params, learning_rate ("lr" in optimizer_params wins).
    parameters : sequence of Parameter
        Those to train.

    Raises
    ------
    SettingError
        The name is unknown, the parameters are not taken, or the result is no optimizer.
    """
    given = config.optimizer
    params = dict(config.optimizer_params)
    named = isinstance(given, str)
    maker: Any = optimizer_class(given) if isinstance(given, str) else given
    label = given if isinstance(given, str) else getattr(given, "__name__", repr(given))
    if isinstance(maker, type):
        accepted = signature_of(maker)
        if "lr" in accepted:
            params.setdefault("lr", config.learning_rate)
        # One call for all parameters: several times cheaper for small networks, the same results up to rounding.
        if (
            named
            and "fused" in accepted
            and not {"fused", "foreach", "differentiable"} & set(params)
            and _can_fuse(maker, parameters)
        ):
            params["fused"] = True
    try:
        optimizer = _made(maker, list(parameters), params)
    except (TypeError, ValueError) as error:
        raise SettingError(f"optimizer {label} does not take optimizerParams={params!r}: {error}") from error
    if not isinstance(optimizer, Optimizer):
        raise SettingError(
            f"optimizer {label} returned {type(optimizer).__name__}: it must return a torch.optim.Optimizer"
        )
    return optimizer


def make_schedule(config: TrainConfig, optimizer: Optimizer, total_steps: int) -> Any:
    """Return the schedule of the learning rate, or None; it is stepped after each optimizer step.

    Parameters
    ----------
    config : TrainConfig
        lr_schedule (a class name of torch.optim.lr_scheduler, a class, or function(optimizer, total_steps)) and
        lr_schedule_params. OneCycleLR's total_steps and max_lr and CosineAnnealingLR's T_max are filled in.
    optimizer : Optimizer
    total_steps : int
        Steps of all epochs.

    Raises
    ------
    SettingError
        The name is unknown, the parameters are not taken, or it needs a metric of each epoch.
    """
    given = config.lr_schedule
    if given is None:
        return None
    params = dict(config.lr_schedule_params)
    label = given if isinstance(given, str) else getattr(given, "__name__", repr(given))
    if label == _PLATEAU:
        raise SettingError(
            f"lrSchedule={_PLATEAU!r} waits for a metric of each epoch, schedules are stepped after each "
            "optimizer step: call it from a Callback's on_epoch_end"
        )
    try:
        if isinstance(given, str | type):
            kind = schedule_class(given) if isinstance(given, str) else given
            return kind(optimizer, **filled(kind, params, config, total_steps))
        schedule = given(optimizer, total_steps, **params)
    except (TypeError, ValueError) as error:
        raise SettingError(f"lrSchedule {label} does not take lrScheduleParams={params!r}: {error}") from error
    if not callable(getattr(schedule, "step", None)):
        raise SettingError(
            f"lrSchedule {label} returned {type(schedule).__name__}: it must return a schedule with step()"
        )
    return schedule


def optimizer_class(name: str) -> type[Optimizer]:
    """Return torch.optim's class of that name, in any case.

    Raises
    ------
    SettingError
        There is none, or it cannot be used here.
    """
    there = {
        key.lower(): kind
        for key, kind in vars(torch.optim).items()
        if isinstance(kind, type) and issubclass(kind, Optimizer) and kind is not Optimizer
    }
    key = name.lower()
    if key in _NEEDS_CLOSURE:
        raise SettingError(
            f"optimizer={name!r} evaluates the loss several times a step, which is not offered: take 'adamw'"
        )
    if key in _NEEDS_SPARSE:
        raise SettingError(f"optimizer={name!r} needs sparse gradients, ranks exchange dense ones: take 'adam'")
    if key not in there:
        offered = sorted(set(there) - _NEEDS_CLOSURE - _NEEDS_SPARSE)
        raise SettingError(f"optimizer={name!r} is not known: {did_you_mean(name, offered)}")
    return there[key]


def schedule_class(name: str) -> Callable[..., Any]:
    """Return torch.optim.lr_scheduler's class of that name, in any case.

    Raises
    ------
    SettingError
        There is none.
    """
    there = {
        key.lower(): kind
        for key, kind in vars(lr_scheduler).items()
        if isinstance(kind, type) and issubclass(kind, lr_scheduler.LRScheduler) and not key.startswith("_")
    }
    there.pop("lrscheduler", None)
    if name.lower() not in there:
        names = sorted(kind.__name__ for kind in there.values() if kind.__name__ != _PLATEAU)
        raise SettingError(f"lrSchedule={name!r} is not known: {did_you_mean(name, names)}")
    return there[name.lower()]


def signature_of(maker: Any) -> Mapping[str, inspect.Parameter]:
    """Return the arguments of a class or a function by name; none where it does not tell, as some built-in ones."""
    try:
        return inspect.signature(maker).parameters
    except (TypeError, ValueError):
        return {}


def filled(kind: Any, params: dict[str, Any], config: TrainConfig, total_steps: int) -> dict[str, Any]:
    """Add to the arguments of a schedule's class what it needs and follows from the other settings."""
    accepted = signature_of(kind)
    if "total_steps" in accepted and not {"total_steps", "epochs"} & set(params):
        params["total_steps"] = total_steps
    if "T_max" in accepted:
        params.setdefault("T_max", total_steps)
    if "max_lr" in accepted and accepted["max_lr"].default is inspect.Parameter.empty and "base_lr" not in accepted:
        params.setdefault("max_lr", config.learning_rate)
    return params


def _made(maker: Any, parameters: list[nn.Parameter], params: dict[str, Any]) -> Any:
    """Call a class or a function; a class of torch's without importing torch._dynamo, and without a mark on the class.

    `add_param_group`, which `__init__` calls, would import the compiler: the new object has the method inside of it.
    """
    name = "add_param_group"
    plain = getattr(Optimizer.add_param_group, "__wrapped__", None)
    inherits = isinstance(maker, type) and getattr(maker, name, None) is Optimizer.add_param_group
    if plain is None or not inherits or "torch._dynamo" in sys.modules:
        return maker(parameters, **params)
    optimizer = maker.__new__(maker, parameters, **params)
    vars(optimizer)[name] = MethodType(plain, optimizer)
    try:
        maker.__init__(optimizer, parameters, **params)
    finally:
        vars(optimizer).pop(name, None)
    return optimizer


def fused_on(kind: type) -> tuple[str, ...]:
    """Return the types of device on which an optimizer of torch has one call for all parameters."""
    return _FUSED.get(kind.__name__.lower(), ())


def _can_fuse(kind: type, parameters: Sequence[nn.Parameter]) -> bool:
    """Tell whether an optimizer may take one call for all parameters.

    That call walks through the memory of a parameter, of its gradient and of what the optimizer keeps for it, in one
    order for all: the parameter must be dense, with its dimensions in any order (channels last too).
    """
    return all(
        p.dtype == torch.float32
        and p.device.type in fused_on(kind)
        # torch gives the strides of a dense tensor to what it makes like it, and to no other's.
        and torch.empty_like(p, device="meta").stride() == p.stride()
        for p in parameters
    )
