"""Nearest neighbours against the text of the paper, in dense numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain.data import device, types
from xdomain.models import item_knn
from xdomain.training import loop


def fit(pair, shrink, **settings):
  model = item_knn.model(device.sizes(pair), **settings)
  data = device.put(pair)
  end = loop.fit(
    model, jax.random.key(0), data, item_knn.Hyper(shrink), epochs=1
  ).best_of()
  users = jnp.arange(data.target.by_user.n_rows)
  return end, helpers.scorer(model.predict_all)(end, data)(users)


def cosines(x, shrink):
  shared = x.T @ x
  people = np.diag(shared)
  similar = shared / (np.sqrt(np.outer(people, people)) + shrink)
  np.fill_diagonal(similar, 0)
  return similar


@pytest.mark.parametrize('neighbours', [None, 3])
def test_scores_follow_the_definition(neighbours):
  pair = helpers.implicit().split.train
  _, scores = fit(pair, 2.5, neighbours=neighbours, batch=7)
  x = helpers.dense(pair.target)
  similar = cosines(x, 2.5)
  if neighbours is not None:  # Of equal ones, lower ids come first.
    order = np.argsort(-similar.astype(np.float32), axis=1, kind='stable')
    for row, others in zip(similar, order[:, neighbours:]):
      row[others] = 0
  np.testing.assert_allclose(scores, x @ similar, atol=1e-5)


def test_the_nearest_are_kept_in_order_and_are_others():
  pair = helpers.implicit().split.train
  end, _ = fit(pair, 0.0, neighbours=5)
  assert end.item.shape == (pair.target.n_items, 5)
  assert np.all(np.diff(end.similarity) <= 0)
  itself = end.item == np.arange(pair.target.n_items)[:, None]
  assert not np.any(itself & (end.similarity > 0))


def test_a_twin_is_as_near_as_can_be_but_for_the_shrinkage():
  events = [[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1], [2, 0, 1], [2, 1, 1]]
  pair = types.Pair(helpers.ratings_of([], 3, 1), helpers.ratings_of(events, 3, 3))
  end, scores = fit(pair, 1.0, neighbours=None)
  np.testing.assert_allclose(end.similarity[:2, 0], 3 / (3 + 1))
  np.testing.assert_allclose(scores[0], [0.75, 0.75, 0])


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
  hyper = item_knn.Hyper()
  model = item_knn.model(small.sizes, neighbours=10, batch=32)
  (stage,) = model.stages
  state = helpers.jitted(stage.init)(jax.random.key(0), small.data, hyper, ())
  compiled = loop.epoch.lower(
    stage, state, jax.random.key(0), small.data, hyper
  ).compile()
  users_times_items = 4 * small.sizes.users * small.sizes.target
  memory = compiled.memory_analysis().temp_size_in_bytes
  assert memory < users_times_items / 4


def test_users_score_alike_one_by_one_and_together(monkeypatch):
  small = helpers.implicit()
  model, hyper = item_knn.model(small.sizes, neighbours=5), item_knn.Hyper()
  end = loop.fit(model, jax.random.key(0), small.data, hyper, epochs=1).best_of()
  users = jnp.array([3, 0, 17, 3])
  one_by_one = helpers.scorer(model.predict_all)(end, small.data)(users)
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  together = helpers.scorer(model.predict_all)(end, small.data)(users)
  np.testing.assert_allclose(one_by_one, together, atol=1e-5)
