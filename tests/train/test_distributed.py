"""Two processes compute what one computes on the joined batch."""

import csv
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from helpers.processes import CONTEXT
from helpers.training import TRAINED, small, weights_of, write_arrays
from torch import nn

from robnet_zoo.train.batch_norm import JointBatchNorm2d
from robnet_zoo.train.session import train
from robnet_zoo.train.settings import read_settings, validate_unchanged

METHOD = CONTEXT.get_start_method()


def norm_on_half(rank, folder):
    """Write what one of two processes gets from joint batch norm on its half of a batch."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    images, weights = torch.load(f"{folder}/batch.pt", weights_only=True)
    mine = images.chunk(2)[rank].clone().requires_grad_()
    norm = JointBatchNorm2d(3).double()
    (norm(mine) * weights.chunk(2)[rank]).sum().backward()
    torch.save((mine.grad, norm.running_mean, norm.running_var), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_joint_batch_norm_is_batch_norm_of_the_joined_batch(tmp_path):
    draws = torch.Generator().manual_seed(0)
    images, weights = torch.randn(2, 8, 3, 5, 5, dtype=torch.float64, generator=draws)
    torch.save((images, weights), tmp_path / "batch.pt")
    mp.start_processes(norm_on_half, (str(tmp_path),), nprocs=2, start_method=METHOD)
    whole = images.clone().requires_grad_()
    norm = nn.BatchNorm2d(3).double()
    (norm(whole) * weights).sum().backward()
    halves = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    gradient = torch.cat([half[0] for half in halves])
    assert torch.allclose(gradient, whole.grad, rtol=1e-10, atol=1e-12)
    for _, mean, variance in halves:
        assert torch.allclose(mean, norm.running_mean, rtol=1e-12)
        assert torch.allclose(variance, norm.running_var, rtol=1e-12)


def write_greys(folder):
    """Write digits whose pixels stay off 0 and 1: clipped ones tie, and rounding breaks ties."""
    dataset = write_arrays(folder)
    path = dataset.removeprefix("arrays:")
    with np.load(path) as held:
        arrays = dict(held)
    np.savez(path, x=64 + arrays["x"] // 2, y=arrays["y"])
    return dataset


@pytest.mark.slow
def test_two_processes_train_like_one_and_one_takes_over_from_two(tmp_path):
    dataset = write_greys(tmp_path)
    one, two = tmp_path / "one", tmp_path / "two"
    options = [
        *("--model", "racl", "--dataset", dataset, "--threat-model", "digits"),
        *("--channels", "4", "--layers", "3", "--batch-size", "60", "--epochs", "2"),
        *("--set", "steps=2", "--set", "early_steps=1", "--joint-batch-norm"),
        # rounding turns the sign of a gradient near 0: such a step must not go far
        *("--set", "step_share=0.01", "--set", "early_step_share=0.01"),
    ]
    train(
        small(
            dataset,
            batch_size=60,
            joint_batch_norm=True,
            step_share=0.01,
            early_step_share=0.01,
        ).fitted(TRAINED),
        one,
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
            *("--master-port", "0", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"),
            *("-m", "robnet_zoo.train", *options, "--out", str(two)),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    validate_unchanged(read_settings(one), read_settings(two))  # the same run, but for processes
    ours, theirs = (list(csv.DictReader((folder / "history.csv").open())) for folder in (one, two))
    for our, their in zip(ours, theirs, strict=True):
        assert float(our["loss"]) == pytest.approx(float(their["loss"]), rel=1e-3)
    single, double = weights_of(one / "last.pt"), weights_of(two / "last.pt")
    for name, value in single.items():
        if value.is_floating_point():
            assert torch.allclose(value, double[name], rtol=0.02, atol=2e-3), name

    resumed = train(read_settings(two), two, resume=True)  # by one process: it is complete
    assert resumed["steps"] == 6
