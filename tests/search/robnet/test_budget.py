"""Codes under a budget: the paper's three budgets and its published sizes."""

import random

import pytest

from robnet_zoo.genotypes import RobNetGenotype, published
from robnet_zoo.models.count import count_parameters
from robnet_zoo.models.networks import build_network
from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.search.robnet import budget
from robnet_zoo.search.robnet.codes import convolutions, identities, random_codes
from robnet_zoo.search.robnet.codes import count_parameters as counted_from_codes

PAPER = {"channels": 36, "layers": 20, "num_classes": 100}
PUBLISHED = {"small": (4_411_504, 7, 5), "medium": (5_666_032, 10, 6)}  # convs, input identities


def real_size(codes, **sizes):
    return count_parameters(build_network(RobNetGenotype("x", "searched here", "", codes), **sizes))


@pytest.mark.parametrize("name", PUBLISHED)
def test_codes_of_the_published_sizes_are_regenerated(name):
    size, convs, input_identities = PUBLISHED[name]
    draw = budget.sampler(budget=name, parameters=size, **PAPER)
    drawn = [draw(random.Random(seed)) for seed in range(5)]
    for codes in drawn:
        assert convolutions(codes) == convs
        assert identities(codes, (0, 1, 2, 3, 5, 6, 9, 10)) == input_identities
    assert real_size(drawn[0], **PAPER) == size
    assert len(set(drawn)) == 5


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_papers_rules_at_the_published_size_give_the_zoos_reconstruction(name):
    code = budget.dense_code(PUBLISHED[name][0], name, **PAPER)
    assert (code,) == published(f"robnet_{name}").cells


@pytest.mark.parametrize(("name", "counts"), [("small", 7), ("medium", 10), ("large", 14)])
def test_each_budget_has_its_convolutions(name, counts):
    rng = random.Random(1)
    drawn = [budget.code_of_budget(rng, name) for _ in range(300)]
    convs = [convolutions((code,)) for code in drawn]
    low, high = budget.BUDGETS[name]
    assert low <= min(convs) and max(convs) <= high == counts
    assert {budget.budget_of((code,)) for code in drawn} == {name}
    # Every code of a budget is as likely: most of them have the middle number of convolutions.
    common = {"small": 7, "medium": 8, "large": 11}[name]
    assert max(set(convs), key=convs.count) == common


def test_cell_free_codes_come_near_a_size_and_keep_to_the_budget():
    sizes = {"channels": 4, "layers": 6, "num_classes": 10, "in_channels": 1}
    target = 25_000
    draw = budget.sampler(cells=6, budget="medium", parameters=target, **sizes)
    codes = draw(random.Random(3))
    assert len(codes) == 6
    assert real_size(codes, **sizes) == pytest.approx(target, rel=0.01)
    assert all(8 <= convolutions((code,)) <= 10 for code in codes)


def test_without_a_budget_codes_are_the_study_s():
    draw = budget.sampler(cells=3, keep=0.7)
    assert draw(random.Random(9)) == random_codes(random.Random(9), 3, 0.7)


def test_a_size_out_of_reach_is_refused_with_the_nearest_one():
    draw = budget.sampler(budget="small", parameters=6_500_000, **PAPER)
    with pytest.raises(ZooError, match=r"small budget.*6,500,000.*4,489,264"):
        draw(random.Random(0))
    with pytest.raises(ZooError, match="huge"):
        budget.sampler(budget="huge")(random.Random(0))


@pytest.mark.parametrize(
    ("parameters", "cells", "name", "nearest"),
    [
        (1_000_000, 1, None, "1,441,072"),  # one identity
        (6_500_000, 1, "small", "4,489,264"),  # 7 convolutions and all 8 identities
        (6_500_000, 20, "small", "4,489,264"),
        (1_000_000, 20, "large", "5,920,048"),  # 11 convolutions
    ],
)
def test_sizes_that_no_code_has_are_refused_before_any_is_drawn(parameters, cells, name, nearest):
    sizes = {**PAPER, "num_classes": 100}
    with pytest.raises(ZooError, match=f"No code.* one has {nearest}"):
        budget.check_parameters(parameters, cells, name, **sizes)
    budget.check_parameters(int(nearest.replace(",", "")), cells, name, **sizes)


def test_a_start_that_leads_nowhere_is_left_for_another():
    sizes = {"channels": 8, "layers": 5, "in_channels": 1}
    draw = budget.sampler(parameters=107_000, **sizes)  # half of the starts end elsewhere
    for seed in range(4):
        made = counted_from_codes(draw(random.Random(seed)), **sizes)
        assert abs(made - 107_000) <= 0.02 * 107_000
