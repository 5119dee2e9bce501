import jax
import numpy as np

from tests import helpers
from xdomain import base, train
from xdomain.data import arrays
from xdomain.models import bias


def test_biases_minimise_the_ridge_objective():
  small = helpers.small()
  penalty = 3.0
  end = train.fit(
    bias.model(small.sizes), jax.random.key(0), small.data,
    bias.Hyper(penalty), epochs=200,
  )  # fmt: skip
  ratings = small.split.train.target
  users, items = ratings.n_users, ratings.n_items
  design = np.zeros((ratings.user.size, users + items))
  design[np.arange(ratings.user.size), ratings.user] = 1
  design[np.arange(ratings.user.size), users + ratings.item] = 1
  direct = np.linalg.solve(
    design.T @ design + penalty * np.eye(users + items),
    design.T @ (ratings.value - ratings.value.mean()),
  )
  np.testing.assert_allclose(end.best.user, direct[:users], atol=1e-4)
  np.testing.assert_allclose(end.best.item, direct[users:], atol=1e-4)


def test_one_user_and_one_item_by_hand():
  pair = base.Pair(
    helpers.ratings([], 2, 1), helpers.ratings([[0, 0, 5], [1, 0, 1]], 2, 1)
  )
  end = train.fit(
    bias.model(arrays.sizes(pair)), jax.random.key(0), arrays.put(pair),
    bias.Hyper(penalty=1.0), epochs=5,
  )  # fmt: skip
  np.testing.assert_allclose(end.best.mean, 3)
  np.testing.assert_allclose(end.best.item, [0], atol=1e-6)
  np.testing.assert_allclose(end.best.user, [1, -1])  # 2 / (1 + penalty)


def test_without_a_penalty_an_unrated_item_is_average():
  pair = base.Pair(
    helpers.ratings([], 1, 1), helpers.ratings([[0, 0, 5]], 1, 2)
  )
  end = train.fit(
    bias.model(arrays.sizes(pair)), jax.random.key(0), arrays.put(pair),
    bias.Hyper(penalty=0.0), epochs=2,
  )  # fmt: skip
  np.testing.assert_allclose(end.best.item, [0, 0])
