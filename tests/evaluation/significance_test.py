import math

import numpy as np
import pytest

from xdomain.evaluation import significance


def p_value(difference, **kwargs):
  return significance.paired_bootstrap(difference, np.ones(len(difference)), **kwargs)


def normal_p(difference):
  """What the bootstrap tends to with many users: a sum over its own error."""
  z = np.sum(difference) / np.sqrt(np.sum(np.square(difference)))
  return math.erfc(abs(z) / math.sqrt(2))


def times_drawn(byte):
  return np.sum(byte[..., None] >= significance.TIMES, axis=-1, dtype=float)


def test_draws_have_the_mean_and_variance_of_a_poisson_number():
  draws = times_drawn(np.arange(256))
  assert draws.size == 256
  assert (draws.mean(), draws.var()) == (1, 1)
  poisson = 256 * np.exp(-1) / np.array([math.factorial(k) for k in range(6)])
  np.testing.assert_allclose(np.bincount(draws.astype(int)), poisson, atol=1.1)


def test_users_who_all_agree_by_hand():
  # No sum is positive only if none of the four is drawn: (94 / 256)^4 twice.
  p = p_value([1.0, 2.0, 1.0, 3.0], resamples=100_000)
  assert p == pytest.approx(2 * (94 / 256) ** 4, rel=0.05)


def test_the_form_with_one_added_is_never_zero():
  assert p_value(np.ones(100), resamples=99) == 2 / 100


def test_methods_that_are_identical_do_not_differ():
  assert p_value(np.zeros(50)) == 1
  assert p_value([1.0, -1.0]) == 1


def test_a_tie_in_decimals_is_a_tie():
  # Three times a rounded third less 1 is not 0; drawn alike, they cancel.
  once = np.array([94, 95, 46, 16, 4, 1]) / 256
  of_three = np.convolve(np.convolve(once, once), once)  # 0 to 15 times
  of_one = np.zeros(16)
  of_one[::3] = once
  both = np.outer(of_three, of_one)
  below, above = np.triu(both).sum(), np.tril(both).sum()  # Ties are in both.
  p = p_value([0.1, 0.1, 0.1, -0.3], resamples=100_000)
  assert p == pytest.approx(min(1, 2 * min(below, above)), abs=0.01)


@pytest.mark.parametrize('shift', [0.03, 0.06, 0.1])
def test_many_users_give_the_closed_form(shift):
  difference = np.random.default_rng(1).normal(size=1500) + shift
  p = p_value(difference)
  assert p == pytest.approx(normal_p(difference), abs=0.003, rel=0.1)


def test_blocks_are_neither_the_same_nor_more_than_asked_for(monkeypatch):
  difference = np.random.default_rng(1).normal(size=150) + 0.1
  monkeypatch.setattr(significance, 'CELLS', 1300 * 150)
  p = p_value(difference, resamples=1500)
  assert p == pytest.approx(normal_p(difference), rel=0.15)
  monkeypatch.setattr(significance, 'CELLS', 1)
  assert p_value(difference, resamples=1500) == pytest.approx(p, rel=0.15)


def test_an_empty_user_changes_nothing():
  with_empty = significance.paired_bootstrap([1, 0, -2, 4], [2, 0, 1, 5])
  assert with_empty == significance.paired_bootstrap([1, -2, 4], [2, 1, 5])


def test_neither_the_unit_nor_the_sign_of_a_difference_matters():
  difference = np.random.default_rng(3).normal(size=200) + 0.1
  assert p_value(1e-9 * difference) == p_value(difference)
  assert p_value(-difference) == p_value(difference)


def test_the_seed_decides():
  difference = np.random.default_rng(3).normal(size=200) + 0.1
  assert p_value(difference, seed=4) == p_value(difference, seed=4)
  assert p_value(difference, seed=4) != p_value(difference, seed=5)


def test_false_alarms_are_as_rare_as_promised_and_effects_are_found():
  rng = np.random.default_rng(5)
  noise = rng.standard_exponential((400, 200)) - 1
  alarms = [p_value(each, resamples=999) < 0.05 for each in noise]
  found = [p_value(each + 0.3, resamples=999) < 0.05 for each in noise]
  assert 0.02 < np.mean(alarms) < 0.08
  assert np.mean(found) > 0.95


def test_what_has_no_p_value_is_refused():
  with pytest.raises(ValueError, match='has a method diverged'):
    p_value([1.0, np.nan])
  with pytest.raises(ValueError, match='some not 0'):
    significance.paired_bootstrap([1.0, 2.0], [0, 0])
  with pytest.raises(ValueError, match='some not 0'):
    significance.paired_bootstrap([1.0, 2.0], [1, -1])
  with pytest.raises(ValueError, match='not shapes'):
    significance.paired_bootstrap([1.0, 2.0], [1])


def test_holm_by_hand():
  adjusted = significance.holm([0.01, 0.04, 0.03, 0.005])
  np.testing.assert_allclose(adjusted, [0.03, 0.06, 0.06, 0.02])


def test_holm_rejects_what_its_steps_reject():
  rng = np.random.default_rng(0)
  for _ in range(50):
    p_values = rng.uniform(size=7) ** 3
    rejected = np.zeros(7, bool)
    for step, k in enumerate(np.argsort(p_values)):
      if p_values[k] > 0.05 / (7 - step):
        break
      rejected[k] = True
    adjusted = significance.holm(p_values)
    np.testing.assert_array_equal(adjusted <= 0.05, rejected)


def test_holm_is_at_most_1_and_may_be_of_one_test_or_none():
  np.testing.assert_array_equal(significance.holm([0.6, 0.9]), [1, 1])
  np.testing.assert_array_equal(significance.holm([0.2]), [0.2])
  assert significance.holm([]).size == 0


def test_holm_refuses_what_is_no_p_value():
  for wrong in (-0.1, 1.1, np.nan):
    with pytest.raises(ValueError, match='from 0 to 1'):
      significance.holm([0.5, wrong])


def test_many_questions_are_answered_as_each_alone():
  rng = np.random.default_rng(0)
  difference = rng.normal(0.1, 1, (3, 40))
  weight = np.ones((3, 40))
  weight[:, 7], difference[:, 7] = 0, 0
  together = significance.paired_bootstrap(difference, weight, 500)
  alone = [
    significance.paired_bootstrap(one, n, 500) for one, n in zip(difference, weight)
  ]
  np.testing.assert_array_equal(together, alone)
  assert together.shape == (3,)


def test_a_user_whom_only_one_question_is_about_counts_there():
  difference = np.array([[1.0, 2.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
  weight = np.array([[1, 1, 0, 0], [1, 1, 1, 1]])
  _, of_four = significance.paired_bootstrap(difference, weight, 100_000)
  assert of_four == pytest.approx(2 * (94 / 256) ** 4, rel=0.05)


@pytest.mark.parametrize('many', [0, 1000])
def test_resampled_sums_vary_as_a_mean_of_users_does(monkeypatch, many):
  monkeypatch.setattr(significance, 'MANY', many)
  values = np.random.default_rng(0).exponential(size=(400, 1))
  values = np.hstack([values, np.ones_like(values)])
  sums = significance.resampled_sums(values, 4000)
  means = sums[:, 0] / sums[:, 1]
  assert means.mean() == pytest.approx(values[:, 0].mean(), rel=0.01)
  assert means.std() == pytest.approx(values[:, 0].std() / 20, rel=0.06)


@pytest.mark.parametrize(
  ('users', 'resamples'), [(significance.USERS + 300, 70), (333, 21), (5, 1)]
)
def test_sums_of_many_users_are_those_of_one_product(monkeypatch, users, resamples):
  monkeypatch.setattr(significance, 'MANY', 4)
  values = np.random.default_rng(0).normal(size=(users, 3)).astype(np.float32)
  rng, sums = np.random.default_rng(7), []
  for begin in range(0, resamples, 16):
    n = min(16, resamples - begin)
    byte = np.frombuffer(rng.bytes(n * users), np.uint8).reshape(n, users)
    sums.append(times_drawn(byte) @ values)
  found = significance.resampled_sums(values, resamples, seed=7)
  np.testing.assert_allclose(found, np.concatenate(sums), rtol=1e-4, atol=1e-3)


def test_resampled_sums_do_not_depend_on_the_size_of_a_block(monkeypatch):
  values = np.random.default_rng(0).normal(size=(30, 2))
  whole = significance.resampled_sums(values, 50)
  monkeypatch.setattr(significance, 'CELLS', 1)
  np.testing.assert_allclose(significance.resampled_sums(values, 50), whole)


def test_an_interval_of_a_constant_difference_is_that_difference():
  queries = np.array([1, 2, 0, 4])
  totals = np.stack([3.0 * queries, 2.0 * queries], axis=-1)
  limits = significance.difference_interval(totals, queries)
  np.testing.assert_allclose(limits, [1, 1], rtol=1e-6)
  limits = significance.difference_interval(totals**2, queries**2, root=True)
  np.testing.assert_allclose(limits, [3 - 2, 3 - 2], rtol=1e-6)


def test_an_interval_of_differences_is_that_of_their_mean():
  rng = np.random.default_rng(0)
  one, other = rng.normal(size=(2, 400)) + [[1.0], [0.8]]
  totals = np.stack([one, other], axis=-1)
  low, high = significance.difference_interval(totals, np.ones(400))
  half = 1.96 * np.std(one - other) / 20
  assert low == pytest.approx(np.mean(one - other) - half, abs=0.02)
  assert high == pytest.approx(np.mean(one - other) + half, abs=0.02)
