"""FM-AutoRec: its blend against its parts, its biases against a dense solution."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain.models import autorec, fm_autorec, fm_cdcf_mcmc


@pytest.fixture(scope='module')
def untrained():
  """The data, the states of the parts, and the blend after its second choice."""
  small = helpers.gaps()
  model = fm_autorec.model(small.sizes, factors=2, samples=2, embed=3)
  *parts, blend = model.stages
  key, hyper = jax.random.key(0), fm_autorec.Hyper()
  done = tuple(each.init(key, small.data, hyper, ()) for each in parts)
  state = blend.init(key, small.data, hyper, done)
  for _ in range(2):
    state, _ = blend.step(state, (), small.data, key, hyper)
  return small, model, done, state


def test_the_choices_are_all_weights_in_fifths_and_end_with_the_machine_alone(
  untrained,
):
  _, model, _, state = untrained
  weights = fm_autorec.WEIGHTS
  assert model.stages[-1].choices == len(weights) == len(np.unique(weights, axis=0))
  assert (weights >= 0).all() and (weights.sum(axis=1) <= 1 + 1e-6).all()
  np.testing.assert_allclose(weights * 5 % 1, 0, atol=1e-6)
  for alone in ([1, 0], [0, 1], [0, 0]):
    assert (weights == alone).all(axis=1).any()
  assert not weights[-1].any()
  chex.assert_trees_all_equal(state.weights, weights[1])


def ratings(predict, state, small):
  users = jnp.arange(small.sizes.users)
  items = jnp.broadcast_to(
    jnp.arange(small.sizes.target), (users.size, small.sizes.target)
  )
  return predict(state, small.data)(users, items)


@pytest.mark.matrix
def test_a_rating_is_the_weighted_sum_of_the_ratings_of_the_parts(untrained):
  small, model, (encoded, chain), state = untrained
  machine = fm_cdcf_mcmc.model(small.sizes, factors=2, samples=2)
  encoder = autorec.model(small.sizes, axis='item', embed=3)
  m = ratings(machine.predict, chain, small)
  a = ratings(encoder.predict, encoded, small)
  b = state.bias.mean + state.bias.user[:, None] + state.bias.item
  for of_autorec, of_bias in ((0.5, 0.2), (0.0, 0.0), (1.0, 0.0), (0.0, 1.0)):
    weighed = state._replace(weights=jnp.array([of_autorec, of_bias]))
    expected = of_autorec * a + of_bias * b + (1 - of_autorec - of_bias) * m
    found = ratings(model.predict, weighed, small)
    chex.assert_trees_all_close(found, expected, atol=1e-5)


def test_its_biases_solve_their_normal_equations(untrained):
  small, *_, state = untrained
  rows = small.data.target.by_user
  user, item, y = (np.asarray(x) for x in (rows.row, rows.column, rows.value))
  users, columns = small.sizes.users, small.sizes.users + small.sizes.target
  x = np.zeros((y.size, columns))
  x[np.arange(y.size), user] = x[np.arange(y.size), users + item] = 1
  left = x.T @ x + fm_autorec.Hyper().penalty * np.eye(columns)
  expected = np.linalg.solve(left, x.T @ (y - y.mean()))
  found = np.concatenate([state.bias.user, state.bias.item])
  np.testing.assert_allclose(found, expected, atol=1e-3)
