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
  """Both stages' initial states and the data."""
  small = helpers.gaps()
  model = fm_autorec.model(small.sizes, factors=2, samples=2, embed=3)
  first, second = model.stages
  hyper = fm_autorec.Hyper(autorec=0.5, bias=0.4)
  state = first.init(jax.random.key(0), small.data, hyper, ())
  return small, model, second.init(jax.random.key(1), small.data, hyper, (state,))


def ratings(predict, state, small):
  users = jnp.arange(small.sizes.users)
  items = jnp.broadcast_to(
    jnp.arange(small.sizes.target), (users.size, small.sizes.target)
  )
  return predict(state, small.data)(users, items)


@pytest.mark.matrix
def test_a_rating_is_the_weighted_sum_of_the_ratings_of_the_parts(untrained):
  small, model, state = untrained
  machine = fm_cdcf_mcmc.model(small.sizes, factors=2, samples=2)
  encoder = autorec.model(small.sizes, axis='item', embed=3)
  biases = state.bias.mean + state.bias.user[:, None] + state.bias.item
  expected = (
    0.3 * ratings(machine.predict, state.chain, small)
    + 0.5 * ratings(encoder.predict, state.autorec, small)
    + 0.2 * biases
  )
  found = ratings(model.predict, state, small)
  chex.assert_trees_all_close(found, expected, atol=1e-5)
  alone = state._replace(shares=(jnp.float32(0), jnp.float32(0)))
  expected = ratings(machine.predict, state.chain, small)
  chex.assert_trees_all_close(ratings(model.predict, alone, small), expected, atol=1e-5)


def test_its_biases_solve_their_normal_equations(untrained):
  small, _, state = untrained
  rows = small.data.target.by_user
  user, item, y = (np.asarray(x) for x in (rows.row, rows.column, rows.value))
  users, columns = small.sizes.users, small.sizes.users + small.sizes.target
  x = np.zeros((y.size, columns))
  x[np.arange(y.size), user] = x[np.arange(y.size), users + item] = 1
  left = x.T @ x + fm_autorec.Hyper().penalty * np.eye(columns)
  expected = np.linalg.solve(left, x.T @ (y - y.mean()))
  found = np.concatenate([state.bias.user, state.bias.item])
  np.testing.assert_allclose(found, expected, atol=1e-3)
