"""What an attack says it costs is near what it takes of images that do not break."""

from functools import lru_cache

import pytest
import torch
from helpers.small_nets import DIGITS, digits, robust_net

from robnet_zoo.attacks import pgd20
from robnet_zoo.attacks.batch import AttackBatch
from robnet_zoo.attacks.model import AttackedModel, preserve_state
from robnet_zoo.attacks.registry import get_attack
from robnet_zoo.attacks.table import ATTACKS

SHORTER = {"apgd-t": {"steps": 10}, "fab-t": {"steps": 10}, "square": {"queries": 100}}
SINGLE = [row for row in ATTACKS.values() if not row.behind and "autoattack" not in row.name]
NAMES = [f"{row.name}10" if row.steps == 0 else row.name for row in SINGLE]


@lru_cache
def standing():
    """Return images that PGD-20 does not break, and their labels."""
    net, (images, labels) = robust_net(), digits(36)
    right = net(pgd20(net, images, labels, DIGITS)).argmax(1) == labels
    return images[right], labels[right]


@pytest.mark.parametrize("name", [*NAMES, "torchattacks:VMIFGSM"])
def test_the_cost_is_within_a_factor_of_two(name):
    attack = get_attack(name, **SHORTER.get(name, {}))
    if name in ("fmn", "ddn"):
        pytest.importorskip("adv_lib")
    net, (images, labels) = robust_net(), standing()
    passed = []
    model = AttackedModel(net, 256, lambda passes, remembered: passed.append(passes))
    everything = torch.arange(len(labels))
    batch = AttackBatch(number=0, indices=everything, images=images, labels=labels, seed=0)
    with preserve_state(net):
        attack.run(model, batch, DIGITS)
    assert 0.5 < sum(passed) / len(labels) / attack.cost() < 2
