"""Training throughput: the zoo's step against the plain loop, side by side in one run.

The plain loop is what most training scripts do: a DataLoader with per-image transforms, eager
float32, `loss.backward()` for every step of PGD. Both train the same network on the same images
with the same attack, in alternating rounds, so that a busy machine slows both; the speed-up is the
median over the rounds of the two times' ratio.

    python -m benchmarks.training --model racl --batch-size 32 --compile
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterator
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from torchvision import transforms

from benchmarks import measure
from benchmarks.plain import plain
from benchmarks.targets import random_images
from robnet_zoo import create_model
from robnet_zoo.data import dataset_info
from robnet_zoo.data.splits import ArraySplit
from robnet_zoo.runtime import console
from robnet_zoo.runtime.distributed import ProcessGroup
from robnet_zoo.train.build import build_run
from robnet_zoo.train.recipes import get_recipe
from robnet_zoo.train.settings import Compile, Layout, Settings
from robnet_zoo.train.step import train_step

EPSILON, STEP = 8 / 255, 2 / 255
EPOCH, BUDGET = 48_000, 25 * 60  # CIFAR-10's training images, and 25 minutes in seconds


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Compare training throughput.")
    parser.add_argument("--model", default="racl")
    parser.add_argument("--channels", type=int, default=None)
    parser.add_argument("--layers", type=int, default=None)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=7, help="of PGD")
    parser.add_argument("--compile", nargs="?", const="default", choices=get_args(Compile))
    parser.add_argument("--layout", choices=get_args(Layout), default="channels_last")
    measure.add_options(parser)
    options = parser.parse_args(argv)
    device = measure.prepare(options)
    images = random_images(options.batch_size * 4)
    contenders = {
        "plain": plain_steps(options, images, device),
        "robnet_zoo": zoo_steps(options, images, device),
    }
    seconds = measure.alternate(contenders, options.rounds, device, warm_up=2)
    rates = measure.rates(seconds, options.batch_size)
    results = {
        **measure.comparison(seconds, "plain"),
        "images_per_second": rates,
        "epochs_in_25_minutes": {name: rate * BUDGET / EPOCH for name, rate in rates.items()},
    }
    kind = ["compiled"] if options.compile else []
    measure.save(options, results, "training", options.model, *kind)


def zoo_steps(options: argparse.Namespace, images: ArraySplit, device: str) -> Callable[[], None]:
    recipe = dataclasses.replace(get_recipe("standard"), steps=options.steps, early_until=0.0)
    settings = Settings(
        model=options.model,
        dataset="cifar10",
        recipe=recipe,
        batch_size=options.batch_size,
        channels=options.channels,
        layers=options.layers,
        compile=options.compile,
        layout=options.layout,
        precision="bfloat16" if device.startswith("cuda") else "float32",
    )
    held = images.to(device)
    settings = settings.fitted(len(images))
    run = build_run(settings, dataset_info("cifar10"), held, held, ProcessGroup(device=device))
    chosen = torch.arange(options.batch_size, device=device)

    def step() -> None:
        run.state.batch = 0
        train_step(run, held.images(chosen), held.labels[chosen])

    return step


def plain_steps(options: argparse.Namespace, images: ArraySplit, device: str) -> Callable[[], None]:
    sizes = {"channels": options.channels, "layers": options.layers}
    model = plain(create_model(options.model, **{k: v for k, v in sizes.items() if v}).to(device))
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    transform = transforms.Compose(
        [
            transforms.ToPILImage(),
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
        ]
    )
    loader = DataLoader(
        TensorDataset(images.pixels, images.labels),
        options.batch_size,
        shuffle=True,
        collate_fn=lambda rows: (
            torch.stack([transform(image) for image, _ in rows]),
            torch.stack([label for _, label in rows]),
        ),
    )

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from loader

    feed = batches()

    def step() -> None:
        clean, labels = (tensor.to(device) for tensor in next(feed))
        model.eval()
        attacked = clean + torch.empty_like(clean).uniform_(-EPSILON, EPSILON)
        for _ in range(options.steps):
            attacked = attacked.detach().requires_grad_()
            model.zero_grad()
            F.cross_entropy(model(attacked), labels).backward()
            assert attacked.grad is not None
            moved = attacked + STEP * attacked.grad.sign()
            attacked = (clean + (moved - clean).clamp(-EPSILON, EPSILON)).clamp(0, 1)
        model.train()
        optimizer.zero_grad()
        F.cross_entropy(model(attacked.detach()), labels).backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    sys.exit(console.run(main))
