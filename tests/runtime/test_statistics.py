import pytest

from robnet_zoo.runtime.statistics import mcnemar, paired_difference


@pytest.mark.parametrize(
    ("counts", "interval"),
    [
        ((1, 1, 7, 12), (-0.507, -0.026)),  # Bentur et al. (2009), as Fagerland et al. compute it
        ((59, 6, 16, 80), (-0.119, -0.005)),
    ],
)
def test_the_paired_interval_is_newcombes(counts, interval):
    paired = paired_difference(*counts)
    assert (paired.low, paired.high) == pytest.approx(interval, abs=5e-4)
    mirrored = paired_difference(counts[0], counts[2], counts[1], counts[3])
    assert (mirrored.low, mirrored.high) == pytest.approx((-paired.high, -paired.low))


def test_two_that_agree_everywhere_still_have_an_interval():
    paired = paired_difference(500, 0, 0, 500)
    assert paired.low < 0 < paired.high < 0.005
    assert (paired.difference, paired.p_value) == (0, 1)


@pytest.mark.parametrize("counts", [(0, 5, 0, 0), (0, 0, 5, 0), (5, 0, 0, 0), (0, 0, 0, 5)])
def test_an_interval_of_few_images_is_wide_and_a_difference(counts):
    paired = paired_difference(*counts)
    assert -1 <= paired.low <= paired.difference <= paired.high <= 1
    assert paired.high - paired.low > 0.4


def test_mcnemar_is_the_exact_binomial_test():
    assert mcnemar(1, 7) == 2 * (1 + 8) / 2**8
    assert mcnemar(5, 5) == mcnemar(0, 0) == 1
    assert 0 < mcnemar(3000, 3600) < 1e-12  # no overflow


def test_counts_that_are_none_are_refused():
    for counts in ((0, 0, 0, 0), (5, -1, 0, 0)):
        with pytest.raises(ValueError, match="no counts of images"):
            paired_difference(*counts)
