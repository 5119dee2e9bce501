import jax
import numpy as np

from tests import helpers
from xdomain.data import device, types
from xdomain.models import bias
from xdomain.training import loop


def test_biases_minimise_the_ridge_objective():
  small = helpers.small()
  penalty = 3.0
  end = loop.fit(
    bias.model(small.sizes),
    jax.random.key(0),
    small.data,
    bias.Hyper(penalty),
    epochs=200,
  )
  ratings = small.split.train.target
  users, items = ratings.n_users, ratings.n_items
  design = np.zeros((ratings.user.size, users + items))
  design[np.arange(ratings.user.size), ratings.user] = 1
  design[np.arange(ratings.user.size), users + ratings.item] = 1
  direct = np.linalg.solve(
    design.T @ design + penalty * np.eye(users + items),
    design.T @ (ratings.value - ratings.value.mean()),
  )
  np.testing.assert_allclose(end.best_of().user, direct[:users], atol=1e-4)
  np.testing.assert_allclose(end.best_of().item, direct[users:], atol=1e-4)


def test_one_user_and_one_item_by_hand():
  pair = types.Pair(
    helpers.ratings_of([], 2, 1), helpers.ratings_of([[0, 0, 5], [1, 0, 1]], 2, 1)
  )
  end = loop.fit(
    bias.model(device.sizes(pair)),
    jax.random.key(0),
    device.put(pair),
    bias.Hyper(penalty=1.0),
    epochs=5,
  )
  np.testing.assert_allclose(end.best_of().mean, 3)
  np.testing.assert_allclose(end.best_of().item, [0], atol=1e-6)
  np.testing.assert_allclose(end.best_of().user, [1, -1])  # 2 / (1 + penalty)


def test_without_a_penalty_an_unrated_item_is_average():
  pair = types.Pair(helpers.ratings_of([], 1, 1), helpers.ratings_of([[0, 0, 5]], 1, 2))
  end = loop.fit(
    bias.model(device.sizes(pair)),
    jax.random.key(0),
    device.put(pair),
    bias.Hyper(penalty=0.0),
    epochs=2,
  )
  np.testing.assert_allclose(end.best_of().item, [0, 0])
