"""Optimizers and schedules by name, class and function."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from sparkdl.comm.flat import FlatSync
from sparkdl.comm.solo import SoloBackend
from sparkdl.errors import SettingError
from sparkdl.train.config import TrainConfig
from sparkdl.train.optim import fused_on, make_optimizer, make_schedule, optimizer_class, step_function


def _parameters():
    torch.manual_seed(0)
    return list(nn.Linear(3, 2).parameters())


@pytest.mark.parametrize("name", ["adamw", "sgd", "RMSprop", "nadam", "adagrad"])
def test_a_step_by_name_is_torchs(name):
    mine, theirs = _parameters(), _parameters()
    ours = make_optimizer(TrainConfig(optimizer=name, learning_rate=0.1), mine)
    kind = {k.lower(): v for k, v in vars(torch.optim).items()}[name.lower()]
    plain = kind(theirs, lr=0.1)
    step = step_function(ours)
    for number in range(3):
        for parameter in (*mine, *theirs):
            parameter.grad = torch.full_like(parameter, 0.3 + number)
        step()
        plain.step()
    for first, second in zip(mine, theirs, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "adagrad"])
def test_dense_parameters_in_any_order_take_one_call_and_the_same_step(name):
    torch.manual_seed(0)
    start = torch.randn(4, 3, 5, 5)
    laid_out = [start.to(memory_format=torch.channels_last), start.permute(3, 1, 0, 2), torch.randn(6, 4).t(), start]
    params = {"momentum": 0.9} if name == "sgd" else {}
    mine = [nn.Parameter(tensor.clone(memory_format=torch.preserve_format)) for tensor in laid_out]
    theirs = [nn.Parameter(tensor.clone(memory_format=torch.contiguous_format)) for tensor in laid_out]
    ours = make_optimizer(TrainConfig(optimizer=name, learning_rate=0.1, optimizer_params=params), mine)
    plain = optimizer_class(name)(theirs, lr=0.1, foreach=False, **params)
    assert ours.defaults["fused"]
    sync = FlatSync(SoloBackend(), mine, 0)
    for _ in range(3):
        gradients = [torch.randn(tensor.shape) for tensor in laid_out]
        sync.zero()
        sum((p * g).sum() for p, g in zip(mine, gradients, strict=True)).backward()
        sync.sum([])
        assert [p.grad.stride() for p in mine] == [p.stride() for p in mine]
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient.clone()
        step_function(ours)()
        plain.step()
    for first, second in zip(mine, theirs, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)


def test_parameters_with_gaps_take_the_plain_step():
    gaps = nn.Parameter(torch.randn(4, 6)[:, ::2])
    assert not gaps.is_contiguous()
    assert not make_optimizer(TrainConfig(optimizer="adamw"), [gaps]).defaults["fused"]


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "adagrad", "rmsprop"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_an_optimizer_steps_on_every_device(name, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    weights = [nn.Parameter(torch.ones(4, 3, 2, 2, device=device).to(memory_format=torch.channels_last))]
    optimizer = make_optimizer(TrainConfig(optimizer=name, learning_rate=0.1), weights)
    assert bool(optimizer.defaults.get("fused")) is (device in fused_on(optimizer_class(name)))
    weights[0].grad = torch.ones_like(weights[0])
    step_function(optimizer)()
    assert (weights[0] < 1).all()


def test_adagrad_has_no_single_call_on_a_gpu():
    assert fused_on(torch.optim.Adagrad) == ("cpu",)
    assert fused_on(torch.optim.AdamW) == ("cpu", "cuda")
    assert fused_on(torch.optim.RMSprop) == ()


def test_hooks_of_the_user_run():
    parameters = _parameters()
    optimizer = make_optimizer(TrainConfig(optimizer="sgd"), parameters)
    seen = []
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    step_function(optimizer)()
    assert seen == ["before"]


def test_class_function_and_params():
    config = TrainConfig(optimizer=torch.optim.SGD, learning_rate=0.5, optimizer_params={"momentum": 0.9})
    assert make_optimizer(config, _parameters()).defaults["momentum"] == 0.9
    assert make_optimizer(config, _parameters()).defaults["lr"] == 0.5
    config = TrainConfig(optimizer="adam", optimizer_params={"lr": 0.25})
    assert make_optimizer(config, _parameters()).defaults["lr"] == 0.25
    config = TrainConfig(optimizer=lambda ps, gamma: torch.optim.SGD(ps, lr=gamma), optimizer_params={"gamma": 2.0})
    assert make_optimizer(config, _parameters()).defaults["lr"] == 2.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "adamm"}, "optimizer='adamm' is not known: did you mean 'adam"),
        ({"optimizer": "lbfgs"}, "several times a step"),
        ({"optimizer": "sparseadam"}, "sparse gradients"),
        ({"optimizer_params": {"speed": 1}}, "optimizer adamw does not take optimizerParams"),
        ({"optimizer": lambda parameters: None}, "returned NoneType"),
        ({"optimizer": int}, "optimizer int does not take"),
        ({"optimizer": dict}, "optimizer dict returned dict"),
    ],
)
def test_optimizers_that_cannot_work(settings, message):
    with pytest.raises(SettingError, match=message):
        make_optimizer(TrainConfig(**settings), _parameters())


def _rates(steps, **settings):
    config = TrainConfig(optimizer="sgd", learning_rate=0.1, **settings)
    optimizer = make_optimizer(config, _parameters())
    schedule = make_schedule(config, optimizer, steps)
    step, rates = step_function(optimizer), []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        step()
        schedule.step()
    return rates


@pytest.mark.filterwarnings("error")
def test_schedules_know_the_steps():
    cosine = _rates(10, lr_schedule="CosineAnnealingLR")
    assert cosine[0] == pytest.approx(0.1)
    assert cosine[5] == pytest.approx(0.05)
    one_cycle = _rates(10, lr_schedule="OneCycleLR")
    assert max(one_cycle) == pytest.approx(0.1)
    assert one_cycle[-1] < 1e-3
    assert _rates(3, lr_schedule="steplr", lr_schedule_params={"step_size": 1, "gamma": 0.5}) == pytest.approx(
        [0.1, 0.05, 0.025]
    )

    def linear(optimizer, total_steps):
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / total_steps)

    assert _rates(4, lr_schedule=linear) == pytest.approx([0.1, 0.075, 0.05, 0.025])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr_schedule": "ReduceLROnPlateau"}, "call it from a Callback's on_epoch_end"),
        ({"lr_schedule": "CosinLR"}, "lrSchedule='CosinLR' is not known"),
        ({"lr_schedule": "StepLR"}, "does not take lrScheduleParams={}"),
        ({"lr_schedule": lambda optimizer, steps: 1}, "must return a schedule with step"),
    ],
)
def test_schedules_that_cannot_work(settings, message):
    config = TrainConfig(optimizer="sgd", **settings)
    with pytest.raises(SettingError, match=message):
        make_schedule(config, make_optimizer(config, _parameters()), 5)


def test_a_rank_begins_without_torchs_compiler():
    program = """
import sys, torch
from types import SimpleNamespace
from sparkdl.comm import open_backend
from sparkdl.train.config import TrainConfig
from sparkdl.train.loop import fit
from sparkdl.train.metrics import load_without_scipy
load_without_scipy()
batch = SimpleNamespace(
    inputs=(torch.ones(4, 2),), targets=(torch.ones(4, 1),), weights=None, planned_rows=4, for_network=tuple
)
feed = SimpleNamespace(steps=1, rows=4, wait_seconds=0.0, epoch=lambda epoch, start_step=0: iter([batch]))
config = TrainConfig(epochs=2, lr_schedule="OneCycleLR", metrics=("mse",))
result = fit(torch.nn.Linear(2, 1), config, feed, feed, open_backend("local"))
heavy = {"torch._dynamo", "scipy.signal", "horovod", "pyspark", "petastorm"}
print(result.steps, sorted(heavy & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", program], capture_output=True, text=True, timeout=200
    )
    assert done.stdout.strip() == "2 []", done.stderr


def test_making_an_optimizer_leaves_no_mark_on_torch():
    program = """
import sys, torch
from torch.optim import Optimizer
from sparkdl.train.config import TrainConfig
from sparkdl.train.optim import make_optimizer, spare_dynamo

def marks():
    methods = [getattr(method, "__wrapped__", None) for method in vars(Optimizer).values()]
    return sum("__dynamo_disable" in vars(method) for method in methods if method is not None)

found = []
for kind in ("adamw", torch.optim.SGD):
    optimizer = make_optimizer(TrainConfig(optimizer=kind), [torch.nn.Parameter(torch.zeros(1))])
    found += [marks(), "add_param_group" in vars(optimizer)]
spare_dynamo()
optimizer.add_param_group({"params": [torch.nn.Parameter(torch.zeros(1))]})
print(found, marks() > 0, len(optimizer.param_groups), "torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200)
    assert done.stdout.strip() == "[0, False, 0, False] True 2 False", done.stderr


def test_an_optimizer_of_the_users_own_groups_its_parameters_itself():
    class Own(torch.optim.SGD):
        def add_param_group(self, group):
            super().add_param_group({**group, "named": True})

    optimizer = make_optimizer(TrainConfig(optimizer=Own), _parameters())
    assert optimizer.param_groups[0]["named"]
