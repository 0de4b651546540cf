"""Architectures of honest networks for 8x8 images, plain ones and those of timm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import timm
from timm.layers import SqueezeExcite
from timm.models.convmixer import ConvMixer
from timm.models.convnext import ConvNeXt
from timm.models.mlp_mixer import MlpMixer
from timm.models.resnet import BasicBlock, ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from benchmarks.checks.data import CLASSES, SIDE

PIXELS = SIDE * SIDE


def convolution(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=1)


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, CLASSES))


def mlp_layer_norm() -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs in (PIXELS, 128):
        layers += [nn.Linear(inputs, 128), nn.LayerNorm(128), nn.GELU()]
    return nn.Sequential(*layers, nn.Linear(128, CLASSES))


def mlp_batch_norm() -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(4):
        layers += [nn.Linear(PIXELS, 64), nn.BatchNorm1d(64), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, CLASSES))


def vgg() -> nn.Module:
    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [convolution(inputs, outputs), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.1)]

    first = [*block(1, 16), *block(16, 16), nn.MaxPool2d(2)]
    second = [*block(16, 32), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(
        *first, *second, nn.Linear(128, 64), nn.LeakyReLU(0.1), nn.Linear(64, CLASSES)
    )


def lenet() -> nn.Module:
    return nn.Sequential(
        *(convolution(1, 10), nn.ReLU(), nn.MaxPool2d(2), convolution(10, 20), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(320, 50), nn.ReLU(), nn.Linear(50, CLASSES)),
    )


def tanh() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 12, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2)),
        *(nn.Conv2d(12, 24, 3), nn.Tanh(), nn.Flatten(), nn.Linear(96, CLASSES)),
    )


def deep_group_norm() -> nn.Module:
    layers: list[nn.Module] = [convolution(1, 16)]
    for depth in range(8):
        stride = 2 if depth == 4 else 1
        layers += [nn.GroupNorm(4, 16), nn.SiLU(), convolution(16, 16, stride=stride)]
    return nn.Sequential(
        *layers, nn.SiLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, CLASSES)
    )


def wide_dropout() -> nn.Module:
    return nn.Sequential(
        *(convolution(1, 64), nn.MaxPool2d(3, 2, 1), nn.Hardswish()),
        *(convolution(64, 64), nn.MaxPool2d(2), nn.ELU()),
        *(nn.Flatten(), nn.Dropout(0.2), nn.Linear(256, CLASSES)),
    )


def wide_batch_norm() -> nn.Module:
    return nn.Sequential(
        *(convolution(1, 128), nn.BatchNorm2d(128), nn.SiLU(), nn.AvgPool2d(2)),
        *(convolution(128, 64), nn.BatchNorm2d(64), nn.SiLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, CLASSES)),
    )


def separable() -> nn.Module:
    layers: list[nn.Module] = [convolution(1, 24)]
    for _ in range(3):
        layers += [nn.Conv2d(24, 24, 3, padding=1, groups=24), nn.Conv2d(24, 24, 1)]
        layers += [nn.InstanceNorm2d(24, affine=True), nn.Mish()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(24 * PIXELS, CLASSES))


def prelu_group_norm() -> nn.Module:
    return nn.Sequential(
        *(convolution(1, 16, size=4, stride=2), nn.PReLU()),
        *(nn.Conv2d(16, 32, 3), nn.GroupNorm(8, 32), nn.PReLU()),
        *(nn.Flatten(), nn.Linear(128, CLASSES)),
    )


def squeeze_and_excite() -> nn.Module:
    return nn.Sequential(
        *(convolution(1, 16), nn.ReLU6(), convolution(16, 16), SqueezeExcite(16), nn.ReLU6()),
        *(nn.Flatten(), nn.Linear(16 * PIXELS, CLASSES)),
    )


def of_timm(build: Callable[..., nn.Module], **options: Any) -> Callable[[], nn.Module]:
    """Return a function that builds one of timm's networks for digits."""
    return lambda: build(in_chans=1, num_classes=CLASSES, **options)


def named(name: str, **options: Any) -> Callable[[], nn.Module]:
    """Return a function that builds a network that timm knows by name."""
    return lambda: timm.create_model(name, in_chans=1, num_classes=CLASSES, **options)


vit = of_timm(VisionTransformer, img_size=SIDE, patch_size=2, embed_dim=48, depth=3, num_heads=3)
mixer = of_timm(MlpMixer, img_size=SIDE, patch_size=2, embed_dim=48, num_blocks=3)
convnext = of_timm(ConvNeXt, depths=(1, 1, 1, 1), dims=(16, 24, 32, 48), patch_size=1)
convmixer = of_timm(ConvMixer, dim=32, depth=4, kernel_size=3, patch_size=1)
resnet_silu = of_timm(
    ResNet, block=BasicBlock, layers=[1, 1, 1, 1], channels=(16, 16, 32, 32), act_layer=nn.SiLU
)
test_resnet = named("test_resnet")
test_vit = named("test_vit", img_size=SIDE, patch_size=2)
