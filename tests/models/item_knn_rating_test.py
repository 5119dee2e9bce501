"""Nearest neighbours against the definition, written as loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain.data import device, types
from xdomain.models import bias, item_knn_rating
from xdomain.ops import sparse
from xdomain.training import loop


def fit(small, hyper, **settings):
  return loop.fit(
    item_knn_rating.model(small.sizes, **settings),
    jax.random.key(0),
    small.data,
    hyper,
    epochs=(3, 1),
  ).best_of()


def residuals(small, biases):
  """What the bias model leaves, `[U, T]`, and NaN where nothing is known."""
  events = small.split.train.target
  rest = np.full((events.n_users, events.n_items), np.nan)
  said = biases.mean + biases.user[events.user] + biases.item[events.item]
  rest[events.user, events.item] = events.value - said
  return rest


def similarity(one, two, shrink):
  """Of two items' residuals `[U]`, from the text of the papers."""
  both = ~np.isnan(one) & ~np.isnan(two)
  one, two = one[both], two[both]
  if one.size < 2:
    return 0.0
  rho = one @ two / np.sqrt((one @ one) * (two @ two))
  return (one.size - 1) / (one.size - 1 + shrink) * rho


def prediction(rest, similar, user, item, neighbours):
  """What the neighbours add to the bias model."""
  rated = np.flatnonzero(~np.isnan(rest[user]))
  rated = rated[(rated != item) & (similar[item, rated] > 0)]
  near = rated[np.argsort(-similar[item, rated])][:neighbours]
  if not near.size:
    return 0.0
  return np.average(rest[user, near], weights=similar[item, near])


@pytest.mark.matrix
@pytest.mark.parametrize(
  ('seed', 'batch', 'dense'), [(1, 7, 0.0), (2, 7, 2.0), (3, 64, 0.0)]
)
def test_predictions_follow_the_definition(seed, batch, dense, monkeypatch):
  monkeypatch.setattr(sparse, 'DENSE', dense)
  small = helpers.small(seed)  # Another for each: nothing compiled is reused.
  hyper = item_knn_rating.Hyper(shrink=5.0)
  state = fit(small, hyper, neighbours=3, batch=batch)
  rest = residuals(small, state.biases)
  columns = range(small.sizes.target)
  similar = np.array(
    [
      [similarity(rest[:, i], rest[:, j], hyper.shrink) for j in columns]
      for i in columns
    ]
  )
  expected = np.array(
    [
      [prediction(rest, similar, user, item, 3) for item in columns]
      for user in range(small.sizes.users)
    ]
  )
  users = jnp.arange(small.sizes.users)
  items = jnp.tile(jnp.arange(small.sizes.target), (users.size, 1))
  floor = bias.model(small.sizes).predict(state.biases, small.data)
  model = item_knn_rating.model(small.sizes, neighbours=3, batch=batch)
  ours = helpers.scorer(model.predict)(state, small.data)(users, items) - floor(
    users, items
  )
  np.testing.assert_allclose(ours, expected, atol=1e-4)
  assert np.std(expected) > 0.1


def toy(events, users, items):
  """A target domain of a few events, without a source."""
  pair = types.Pair(
    helpers.ratings_of([], users, 1), helpers.ratings_of(events, users, items)
  )
  return helpers.Small(None, device.sizes(pair), device.put(pair), None, None, None)


def rate(small, state, user, item):
  model = item_knn_rating.model(small.sizes)
  score = helpers.scorer(model.predict)(state, small.data)
  return float(score(jnp.array([user]), jnp.array([[item]]))[0, 0])


@pytest.mark.matrix
def test_the_twin_of_an_item_says_how_it_is_liked():
  events = [[0, 0, 5], [0, 1, 5], [1, 0, 1], [1, 1, 1], [2, 0, 4]]
  small = toy(events, 3, 2)
  no_biases = item_knn_rating.Hyper(shrink=1.0, penalty=1e9)
  state = fit(small, no_biases)
  # Two users in common: (2 - 1) / (2 - 1 + shrink), and a correlation of 1.
  np.testing.assert_allclose(state.similarity[:, 0], [0.5, 0.5], rtol=1e-5)
  np.testing.assert_allclose(rate(small, state, 2, 1), 4, rtol=1e-5)


@pytest.mark.matrix
def test_an_item_seen_beside_others_once_is_predicted_by_its_biases():
  events = [[0, 0, 5], [0, 1, 3], [1, 0, 1], [1, 2, 2]]
  small = toy(events, 2, 3)
  state = fit(small, item_knn_rating.Hyper(shrink=0.0))
  floor = bias.model(small.sizes).predict(state.biases, small.data)
  expected = floor(jnp.array([0]), jnp.array([[2]]))
  np.testing.assert_allclose(rate(small, state, 0, 2), expected[0, 0])


def test_the_nearest_are_kept_in_order():
  small = helpers.small()
  hyper = item_knn_rating.Hyper(shrink=5.0)
  everything = fit(small, hyper)
  few = fit(small, hyper, kept=4)
  assert everything.item.shape == (50, 50)
  assert few.item.shape == (50, 4)
  for ours, theirs in zip(few[1:], everything[1:]):
    np.testing.assert_array_equal(ours, theirs[:, :4])
  assert np.all(np.diff(everything.similarity) <= 0)
  assert np.all(everything.similarity >= 0)
  real = everything.similarity > 0
  assert not np.any((everything.item == np.arange(50)[:, None]) & real)


@pytest.mark.matrix
def test_no_matrix_of_all_pairs_is_built():
  small = helpers.small(
    0,
    users=3000,
    source=50,
    target=4000,
    source_ratings=3000,
    target_ratings=6000,
  )
  hyper = item_knn_rating.Hyper()
  model = item_knn_rating.model(small.sizes, kept=10, batch=32)
  done = (model.stages[0].init(jax.random.key(0), small.data, hyper, ()),)
  state = helpers.jitted(model.stages[1].init)(
    jax.random.key(0), small.data, hyper, done
  )
  compiled = loop.epoch.lower(
    model.stages[1], state, jax.random.key(0), small.data, hyper
  ).compile()
  users_times_items = 4 * small.sizes.users * small.sizes.target
  memory = compiled.memory_analysis().temp_size_in_bytes
  assert memory < users_times_items / 4
