import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import base
from xdomain.data import device, types
from xdomain.evaluation import ratings


def constant(value):
  return lambda users, items: jnp.full(items.shape, value)


def toy():
  """Training mean 3; item 2 and user 2 have no training ratings."""
  pair = types.Pair(
    helpers.ratings_of([[0, 0, 1]], 3, 1),
    helpers.ratings_of([[0, 0, 2], [1, 1, 4]], 3, 3),
  )
  held = helpers.ratings_of([[0, 1, 4], [1, 2, 2], [2, 0, 5]], 3, 3)
  held = types.HeldOut(held.user, held.item, held.value)
  return device.put(pair), device.rating_queries(held)


def model(value, trained=base.everything_trained):
  return base.Model((), lambda state, data: constant(value), trained)


def rated_items(data, users, items):
  del users
  return data.target.by_item.length[items] > 0


def test_rmse_and_mae_by_hand():
  data, queries = toy()
  predictions = ratings.predict_ratings(model(4.0), None, data, queries, (1, 5))
  measures = ratings.rating_measures(predictions)
  assert measures['rmse'] == pytest.approx(np.sqrt((0 + 4 + 1) / 3))
  assert measures['mae'] == pytest.approx(1.0)
  assert (measures['ratings'], measures['warm']) == (3, 1)
  assert measures['rmse_warm'] == 0.0


def test_predictions_are_clipped_to_the_scale():
  data, queries = toy()
  for value, clipped in ((9.0, 5.0), (-3.0, 1.0)):
    predictions = ratings.predict_ratings(model(value), None, data, queries, (1, 5))
    np.testing.assert_array_equal(predictions.rating, clipped)


def test_the_fallback_is_used_exactly_where_the_model_is_not_trained():
  data, queries = toy()
  predictions = ratings.predict_ratings(
    model(5.0, rated_items), None, data, queries, (1, 5)
  )
  np.testing.assert_array_equal(predictions.rating, [5, 3, 5])
  np.testing.assert_array_equal(predictions.raw, [5, 5, 5])
  measures = ratings.rating_measures(predictions)
  assert measures['rmse'] == pytest.approx(np.sqrt((1 + 1 + 0) / 3))
  assert measures['rmse_unfilled'] == pytest.approx(np.sqrt((1 + 9 + 0) / 3))


def test_the_validation_measure_is_the_reported_one():
  data, queries = toy()
  measure = ratings.RatingError((1, 5), rated_items)
  value, _ = measure(constant(5.0), data, queries)
  assert value == pytest.approx(np.sqrt(2 / 3))


def test_a_source_is_measured_against_its_own_ratings():
  data, _ = toy()
  held = types.HeldOut(np.array([1]), np.array([0]), np.array([1.0]))
  predictions = ratings.predict_ratings(
    base.Model((), None, rated_items, lambda state, data: constant(2.0)),
    None,
    data,
    device.rating_queries(held),
    (1, 5),
    domain='source',
  )
  np.testing.assert_array_equal(predictions.rating, [2])
  np.testing.assert_array_equal(predictions.warm, [False])  # User 1 is not.


def test_a_model_that_is_not_a_number_has_no_measure():
  data, queries = toy()
  predictions = ratings.predict_ratings(model(jnp.nan), None, data, queries, (1, 5))
  measures = ratings.rating_measures(predictions)
  assert measures['rmse'] is None
  assert measures['rmse_interval'] == [None, None]


def test_blocks_do_not_change_scores():
  users = jnp.arange(23)
  items = jnp.arange(23 * 3).reshape(23, 3)

  def score(users, items):
    return users[:, None] * 1000.0 + items

  blocks, ratings.BLOCK = ratings.BLOCK, 12
  try:
    np.testing.assert_array_equal(
      ratings.in_blocks(score, users, items), score(users, items)
    )
  finally:
    ratings.BLOCK = blocks


def test_the_interval_covers_the_value_and_narrows_with_more_users():
  rng = np.random.default_rng(0)
  widths = []
  for users in (30, 3000):
    user = np.repeat(np.arange(users), 4)
    error = rng.normal(size=user.size)
    low, high = ratings.error_interval(user, error)
    assert low < np.sqrt(np.mean(error**2)) < high
    widths.append(high - low)
  assert widths[1] < widths[0] / 5


def test_the_interval_is_that_of_resampled_users():
  rng = np.random.default_rng(0)
  user = np.repeat(np.arange(40), 5)
  error = rng.normal(size=200) * (1 + user / 20)
  squared = np.bincount(user, error**2)
  draws = rng.integers(0, 40, (20_000, 40))
  roots = np.sqrt(squared[draws].sum(1) / (5 * 40))
  np.testing.assert_allclose(
    ratings.error_interval(user, error, resamples=5000),
    np.percentile(roots, [2.5, 97.5]),
    rtol=0.02,
  )


def test_the_interval_of_a_difference_is_paired():
  rng = np.random.default_rng(0)
  user = np.arange(200)
  error = rng.normal(size=200)
  low, high = ratings.error_interval(user, 1.1 * error, error)
  assert 0 < low < high  # Alone, either RMSE is far less certain than that.
  assert high - low < 0.05


def test_one_user_has_no_interval():
  low, high = ratings.error_interval(np.zeros(3, int), np.ones(3))
  assert low == high == 1


def test_no_warm_pairs_are_no_measure():
  data, queries = toy()
  only_cold = jax.tree.map(lambda leaf: leaf[1:], queries)
  predictions = ratings.predict_ratings(model(3.0), None, data, only_cold, (1, 5))
  assert ratings.rating_measures(predictions)['rmse_warm'] is None


def test_the_intervals_of_rmse_and_mae_are_each_its_own():
  rng = np.random.default_rng(0)
  user, error = np.arange(60), rng.normal(size=60).astype(np.float32)
  zero = np.zeros(60, np.float32)
  warm = np.arange(60) % 2 == 0
  measures = ratings.rating_measures(
    ratings.Predictions(user, zero, error, error, warm), seed=3
  )
  for name, power in (('rmse', 2), ('mae', 1)):
    for suffix, rows in (('', slice(None)), ('_warm', warm)):
      expected = ratings.error_interval(user[rows], error[rows], power=power, seed=3)
      assert measures[f'{name}{suffix}_interval'] == list(expected)
      assert expected[0] < measures[f'{name}{suffix}'] < expected[1]


def test_the_interval_of_skewed_errors_is_of_percentiles():
  rng = np.random.default_rng(0)
  error = rng.standard_exponential(30) ** 2
  draws = rng.integers(0, 30, (20_000, 30))
  means = error[draws].mean(axis=1)
  np.testing.assert_allclose(
    ratings.error_interval(np.arange(30), error, power=1, resamples=5000),
    np.percentile(means, [2.5, 97.5]),
    rtol=0.03,
  )


def test_raw_predictions_are_clipped_to_the_scale_too():
  data, queries = toy()
  for value, clipped in ((9.0, 5.0), (-3.0, 1.0)):
    predictions = ratings.predict_ratings(
      model(value, rated_items),
      None,
      data,
      queries,
      (1, 5),
    )
    np.testing.assert_array_equal(predictions.raw, clipped)


def test_candidates_that_are_none_are_not_validated_on():
  data, queries = toy()
  padded = queries._replace(mask=jnp.array([[True], [True], [False]]))
  value, _ = ratings.RatingError((1, 5))(constant(4.0), data, padded)
  assert value == pytest.approx(np.sqrt((0 + 4) / 2))
