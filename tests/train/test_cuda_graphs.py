"""The step that a CUDA graph can hold, on a CPU: replayed by a stand-in, and by its operations."""

import dataclasses

import pytest
import torch
from helpers.training import small, write_arrays
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from robnet_zoo.data import dataset_info, load_split
from robnet_zoo.data.splits import ArraySplit
from robnet_zoo.runtime.distributed import ProcessGroup
from robnet_zoo.train.body import step_body
from robnet_zoo.train.build import build_run
from robnet_zoo.train.cuda_graphs import WARM_UP, PlainBodies, Recorder
from robnet_zoo.train.recipes import get_recipe
from robnet_zoo.train.schedule import Stage
from robnet_zoo.train.settings import Settings
from robnet_zoo.train.step import start_statistics, train_step

STEPS = WARM_UP + 5


def a_run(tmp_path, recipe="slot", **changes):
    settings = small(write_arrays(tmp_path), recipe, **changes).fitted(180)
    dataset, images = load_split(settings.dataset, "train", threat_model="digits")
    torch.manual_seed(0)
    run = build_run(settings, dataset, images, images, ProcessGroup())
    start_statistics(run)
    return run


def taken(run, steps=STEPS):
    """Take some steps and return all that they changed."""
    for step in range(steps):
        chosen = torch.arange(45) + step
        run.state.batch = step
        train_step(run, run.train.images(chosen), run.train.labels[chosen])
    average = [] if run.average is None else [*run.average.state_dict().values()]
    return [t.detach().clone() for group in run.changed().values() for t in group] + average


class Wrong(PlainBodies):
    """A recording whose replay does something else than the body."""

    def __init__(self, replay):
        self.replay = replay

    def capture(self, body):
        return lambda: self.replay(body)


def refused(body):
    raise RuntimeError("operation not permitted when stream is capturing\nand more")


def forgetful(body):
    """Replay nothing."""


def twice(body):
    body()
    body()


@pytest.mark.parametrize(
    ("recipe", "changes"),
    [
        ("slot", {}),
        ("standard", {"early_until": 0.5, "epochs": 3}),
        ("best", {"awp_from": 0.3, "epochs": 3}),
        ("paper-arnas", {"model": "arnas"}),
        ("natural", {}),
        ("slot", {"accumulate": 3}),
    ],
)
def test_replays_give_the_eager_steps_weights_to_the_bit(tmp_path, recipe, changes):
    eager = taken(a_run(tmp_path, recipe, **changes))
    run = a_run(tmp_path, recipe, **changes)
    run.recorder = Recorder(PlainBodies())
    for ours, theirs in zip(taken(run), eager, strict=True):
        assert torch.equal(ours, theirs)
    assert run.recorder.replays and not run.recorder.trouble
    assert run.state.events == []


@pytest.mark.parametrize(
    ("replay", "told"),
    [
        (refused, "RuntimeError: operation not permitted when stream is capturing"),
        (forgetful, "a replay changed the weights otherwise than the eager step, by 100%"),
        (twice, "a replay changed the weights otherwise than the eager step, by"),
    ],
)
def test_a_recording_that_fails_or_differs_is_left_for_eager_steps_and_told(tmp_path, replay, told):
    eager = taken(a_run(tmp_path))
    run = a_run(tmp_path)
    run.recorder = Recorder(Wrong(replay))
    for ours, theirs in zip(taken(run), eager, strict=True):
        assert torch.equal(ours, theirs)
    assert not run.recorder.replays
    (event,) = run.state.events
    assert event.startswith(f"step {WARM_UP}: steps run without a CUDA graph: {told}")
    assert "\n" not in event


def test_another_stage_and_another_place_of_momentum_are_recorded_anew(tmp_path):
    made = []

    class Counted(PlainBodies):
        def capture(self, body):
            made.append(body)
            return body

    run = a_run(tmp_path, "standard", early_until=0.5, epochs=3)  # 12 steps
    run.recorder = Recorder(Counted())
    taken(run, 5)
    assert len(made) == 1
    taken(run, 3)  # from step 6 on, late
    assert len(made) == 2
    run.load_state_dict(run.state_dict())  # as a rollback does
    taken(run, 1)
    assert len(made) == 3


WAITS = {"_local_scalar_dense", "item", "nonzero", "is_nonzero", "equal", "masked_select", "unique"}
FROM_PYTHON = {"lift_fresh", "lift_fresh_copy"}  # torch.tensor(...): copied from the host


class Operations(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func._schema.name.partition("::")[2])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("recipe", "changes", "stage"),
    [
        ("slot", {}, Stage(False, False)),
        ("standard", {}, Stage(True, False)),
        ("best", {}, Stage(False, True)),
        ("paper-robnet", {"model": "robnet_small"}, Stage(False, False)),
        ("paper-arnas", {"model": "arnas"}, Stage(False, False)),
        ("slot", {"grouped": True}, Stage(False, False)),
        ("slot", {"precision": "bfloat16"}, Stage(False, False)),
    ],
)
def test_the_body_never_waits_for_the_device_nor_copies_from_the_host(
    tmp_path, recipe, changes, stage
):
    run = a_run(tmp_path, recipe, **changes)
    taken(run, 1)
    with Operations() as seen:
        step_body(run, stage)
    assert "convolution" in seen.names and "convolution_backward" in seen.names
    assert not (WAITS | FROM_PYTHON) & set(seen.names)
    assert not any(
        name.startswith(("rand", "uniform", "normal", "bernoulli")) for name in seen.names
    )


def test_the_body_reads_its_buffers_only(tmp_path):
    """Learning rate, images and the size of epsilon are followed without the body being rebuilt."""
    run = a_run(tmp_path, epochs=10)
    taken(run, 1)
    stage = Stage(False, False)
    before = [weight.detach().clone() for weight in run.weights]
    run.buffers.rate.zero_()
    step_body(run, stage)
    for weight, kept in zip(run.weights, before, strict=True):
        assert torch.equal(weight, kept)
    run.buffers.rate.fill_(0.1)
    step_body(run, stage)
    assert any(not torch.equal(w, kept) for w, kept in zip(run.weights, before, strict=True))


def test_the_adversary_follows_the_size_of_epsilon_in_the_buffer(tmp_path, monkeypatch):
    run = a_run(tmp_path)
    taken(run, 1)
    found = []
    forward = run.forward
    run.forward = lambda images: (found.append(images), forward(images))[1]
    for scale in (1.0, 0.25):
        run.buffers.scale.fill_(scale)
        step_body(run, Stage(False, False))
    wide, narrow = ((images - run.buffers.images).abs().max() for images in found)
    epsilon = run.threat.epsilon.value
    assert 0.9 * epsilon < wide <= epsilon * 1.0001
    assert 0.9 * epsilon / 4 < narrow <= epsilon / 4 * 1.0001


def _apply(self, function, recurse=True):
    """Put tensors in place as torch.nn.Module._apply does, which cannot swap fake ones."""
    for module in self.children():
        module._apply(function)
    with torch.no_grad():
        for name, held in self._parameters.items():
            if held is not None:
                self._parameters[name] = torch.nn.Parameter(function(held), held.requires_grad)
        for name, held in self._buffers.items():
            if held is not None:
                self._buffers[name] = function(held)
    return self


def zeros_for(model):
    """Stand in for the engine, which asks for a driver, with gradients where it would put them."""

    def backward(self):
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)

    return backward


class Devices(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, result)):
            if isinstance(tensor, torch.Tensor):
                self.seen.add((tensor.device.type, func._schema.name))
        return result


@pytest.mark.parametrize("model", ["racl", "robnet_free", "arnas", "resnet18"])
def test_every_tensor_of_the_body_is_on_the_gpu(monkeypatch, model):
    monkeypatch.setattr(torch.nn.Module, "_apply", _apply)
    monkeypatch.setattr(torch.autograd, "grad", lambda loss, leaf: (torch.zeros_like(leaf),))
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self: None)  # its kernel asks for a driver
    recipe = dataclasses.replace(get_recipe("slot"), ema_horizon=0.0)
    sizes = {} if model == "resnet18" else {"channels": 4}
    settings = Settings(
        model=model, dataset="cifar10", recipe=recipe, batch_size=8, cuda_graph=False, **sizes
    ).fitted(48000)
    with FakeTensorMode(), torch.autograd.set_multithreading_enabled(False):
        pixels = torch.zeros(16, 3, 32, 32, dtype=torch.uint8, device="cuda")
        images = ArraySplit(pixels, torch.zeros(16, dtype=torch.int64, device="cuda"))
        run = build_run(
            settings, dataset_info("cifar10"), images, images, ProcessGroup(device="cuda")
        )
        monkeypatch.setattr(torch.Tensor, "backward", zeros_for(run.model))
        with Devices() as devices:
            step_body(run, Stage(False, False))
    assert {kind for kind, _ in devices.seen} == {"cuda"}, sorted(devices.seen)
