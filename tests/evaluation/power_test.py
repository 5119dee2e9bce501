"""Effect sizes and detectable differences by hand and by trial."""

import numpy as np
import pytest

from xdomain.evaluation import power, significance


def test_the_effect_is_the_mean_over_the_deviation():
  totals = np.array([[1.0, 2, 3, 6], [3, 2, 1, 6]])
  found = power.difference(totals, np.ones((2, 4)))
  each = totals.mean(axis=0)
  assert found.mean == 3
  assert found.effect == pytest.approx(each.mean() / each.std(ddof=1))
  weighted = power.difference(np.array([[4.0, 1.0]]), np.array([[4, 2]]))
  assert weighted.mean == pytest.approx(5 / 6)


def test_with_one_query_a_user_the_detectable_difference_is_that_of_a_t_test():
  rng = np.random.default_rng(0)
  gap = rng.normal(size=400)
  found = power.detectable(gap, np.ones(400))
  error = gap.std(ddof=1) / 20
  assert found == pytest.approx((1.959964 + 0.841621) * error, rel=1e-5)


def test_a_detectable_difference_is_found_four_times_in_five():
  rng = np.random.default_rng(1)
  users, found = 200, 0
  size = power.detectable(rng.normal(size=100_000), np.ones(100_000))
  size *= np.sqrt(100_000 / users)
  for trial in range(200):
    gap = rng.normal(size=users) + size
    p = significance.paired_bootstrap(gap, np.ones(users), 500, trial)
    found += p < 0.05
  assert 0.72 < found / 200 < 0.88


def test_seeds_that_disagree_widen_the_interval():
  rng = np.random.default_rng(2)
  users = rng.normal(scale=0.1, size=(1, 300))
  alike = 1 + users + np.zeros((5, 1))
  apart = alike + np.array([-0.8, -0.4, 0, 0.4, 0.8])[:, None]
  ones = np.ones((5, 300))
  one, other = (power.difference(each, ones) for each in (alike, apart))
  assert one.mean == pytest.approx(other.mean)
  assert other.high - other.low > 10 * (one.high - one.low)
  assert one.p < 0.01
  # The deviation of five seeds is .57, that of their mean .25.
  assert (other.high - other.low) / 2 == pytest.approx(1.96 * 0.25, rel=0.15)


def test_one_seed_has_the_interval_over_users():
  rng = np.random.default_rng(3)
  gap = rng.normal(size=(1, 500))
  found = power.difference(gap, np.ones((1, 500)))
  half = 1.96 * gap.std() / np.sqrt(500)
  assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)


def test_equal_methods_differ_by_nothing():
  found = power.difference(np.zeros((3, 10)), np.ones((3, 10)))
  assert (found.mean, found.effect, found.detectable, found.p) == (0, 0, 0, 1)
