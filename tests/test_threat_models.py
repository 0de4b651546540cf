"""The table of threat models, and sizes as people write them."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robnet_zoo.runtime.errors import ZooError
from robnet_zoo.threat_models import THREAT_MODELS, Epsilon, get_threat_model


@pytest.mark.parametrize(
    ("name", "epsilon", "step"),
    [
        ("digits", 0.15, 0.0375),
        ("cifar10", 8 / 255, 2 / 255),
        ("cifar100", 8 / 255, 2 / 255),
        ("svhn", 8 / 255, 2 / 255),
        ("tiny-imagenet", 8 / 255, 2 / 255),
        ("mnist", 0.3, 20 / 255),
        ("imagenet", 4 / 255, 1 / 255),
    ],
)
def test_the_table_holds_the_papers_sizes(name, epsilon, step):
    row = get_threat_model(name)
    assert (row.name, row.norm) == (name, "Linf")
    assert row.epsilon.value == pytest.approx(epsilon, abs=1e-12)
    assert row.step.value == pytest.approx(step, abs=1e-12)


def test_an_unknown_row_names_the_nearest():
    with pytest.raises(ZooError, match="'cifar-10'; did you mean cifar10"):
        get_threat_model("cifar-10")


@pytest.mark.parametrize(
    ("text", "value"),
    [("8/255", 8 / 255), ("76.5/255", 0.3), (" 0.03 ", 0.03), ("1e-3", 1e-3), (0.5, 0.5), (1, 1.0)],
)
def test_sizes_are_read_and_kept_as_written(text, value):
    size = Epsilon.parse(text)
    assert size.value == pytest.approx(value, abs=1e-15)
    assert size.text == str(text).strip()


@pytest.mark.parametrize("text", ["", "8/", "/255", "8/0", "eight", "8/255/2", None, "1,5"])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(ZooError, match="write a fraction such as 8/255"):
        Epsilon.parse(text)


@pytest.mark.parametrize("text", [0, -0.1, "-8/255", "nan", "inf", float("inf"), "0/255"])
def test_sizes_must_be_finite_and_above_zero(text):
    with pytest.raises(ZooError, match="out of range"):
        Epsilon.parse(text)


@given(st.integers(1, 255), st.integers(1, 8))
def test_fractions_stay_fractions_when_scaled(numerator, factor):
    size = Epsilon.parse(f"{numerator}/255").times(Fraction(factor))
    assert size.text == f"{numerator * factor}/255"
    assert math.isclose(size.value, numerator * factor / 255)


def test_other_sizes_take_the_step_along():
    cifar = get_threat_model("cifar10")
    assert str(cifar.at("16/255")) == "Linf 16/255"
    assert cifar.at("16/255").step.text == "4/255"
    assert cifar.at("1/255").step.value == pytest.approx(0.25 / 255, rel=1e-5)
    assert cifar.at("0.5", norm="L2").step.value == pytest.approx(0.125)
    assert cifar.at(0.5, norm="L2").norm == "L2"


@pytest.mark.parametrize("name", THREAT_MODELS)
def test_a_row_at_its_own_size_is_itself(name):
    row = THREAT_MODELS[name]
    assert row.at(row.epsilon.text) == row


def test_sizes_in_pixels_of_255_are_refused_under_linf_only():
    cifar = get_threat_model("cifar10")
    with pytest.raises(ZooError, match="write 8/255 rather than 8"):
        cifar.at(8)
    assert cifar.at(3, norm="L2").epsilon.value == 3


def test_an_unknown_norm_is_refused():
    with pytest.raises(ZooError, match="norm 'l2'"):
        get_threat_model("cifar10").at(0.5, norm="l2")


def test_gradients_climb_in_the_largest_l2_ball_within_an_l1_ball():
    cifar = get_threat_model("cifar10")
    assert cifar.for_gradients(3072) is cifar
    ball = cifar.at("12", "L1").for_gradients(3072)
    assert ball.norm == "L2"
    assert ball.epsilon.value == pytest.approx(12 / math.sqrt(3072), rel=1e-4)
    assert ball.step.value == pytest.approx(ball.epsilon.value / 4, rel=1e-4)
