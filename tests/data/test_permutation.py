import numpy as np
import pytest

from dkse_jax.data.permutation import permuted


def keys(seed, rounds=8):
    return np.random.default_rng(seed).integers(2**64, size=rounds, dtype=np.uint64).tolist()


@pytest.mark.parametrize(
    "length", [1, 2, 3, 4, 5, 11, 16, 17, 63, 64, 65, 255, 256, 257, 1000, 1025, 4096]
)
def test_every_value_comes_once(length):
    for seed in range(3):
        values = [permuted(index, length, keys(seed)) for index in range(length)]
        assert sorted(values) == list(range(length))


def unevenness(values, length):
    """Computes chi-squared, with 15 degrees of freedom, of sixteenths of the range."""
    expected = len(values) / 16
    counts = np.bincount(np.array(values) * 16 // length, minlength=16)
    return ((counts - expected) ** 2 / expected).sum()


BOUND = 44.3  # holds for 9,999 of 10,000 random orders


@pytest.mark.parametrize("length", [70_000, 10**6, 2**20 + 1, 10**9])
def test_values_and_steps_are_even(length):
    for seed in range(3):
        order = np.array([permuted(index, length, keys(seed)) for index in range(1500)])
        assert unevenness(order, length) < BOUND
        for steps in (1, 2, 16):
            assert unevenness((order[steps:] - order[:-steps]) % length, length) < BOUND


@pytest.mark.parametrize("index", [0, 1, 69_999])
def test_every_value_is_equally_likely_at_a_place(index):
    values = [permuted(index, 70_000, keys(seed)) for seed in range(1500)]
    assert unevenness(values, 70_000) < BOUND


def test_few_values_are_in_every_order_equally_often():
    orders = [tuple(permuted(i, 3, keys(seed)) for i in range(3)) for seed in range(1800)]
    counts = np.array([orders.count(order) for order in set(orders)])
    assert len(counts) == 6
    assert ((counts - 300) ** 2 / 300).sum() < 25.7  # 5 degrees of freedom, 9,999 of 10,000
