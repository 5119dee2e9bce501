"""Levels by hand, and their sums and products against dense arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain.ops import levels, sparse

# Those of the dense forms as well.
pytestmark = pytest.mark.usefixtures('full_products')
N_ROWS, N_COLUMNS, LEVELS, WIDTH = 4, 7, 3, 2


def batch(seed=0, slots=11, padding=4):
  """Entries of a batch, some without a weight, and their levels."""
  rng = np.random.default_rng(seed)
  size = slots + padding
  segment = np.sort(rng.integers(0, N_ROWS, size))
  weight = np.arange(size) < slots
  entries = sparse.Entries(
    jnp.asarray(segment),
    jnp.asarray(rng.integers(0, N_COLUMNS, size)),
    jnp.asarray(rng.normal(size=size)),
    np.float32(weight),
  )
  return entries, jnp.asarray(rng.integers(0, LEVELS, size))


def tables(seed=0):
  rng = np.random.default_rng(seed)
  return (
    jnp.asarray(rng.normal(size=(N_ROWS, WIDTH)), jnp.float32),
    jnp.asarray(rng.normal(size=(N_COLUMNS, LEVELS, WIDTH)), jnp.float32),
  )


def test_a_value_is_at_the_nearest_level():
  halves = levels.Scale(levels=4, lowest=0.5, step=0.5)
  values = jnp.array([0.5, 0.7, 0.8, 2.0, 9.0, -1.0, 0.0])
  np.testing.assert_array_equal(halves.level(values), [0, 0, 1, 3, 3, 0, 0])


def test_the_expected_rating_is_the_mean_of_the_softmax():
  halves = levels.Scale(levels=3, lowest=0.5, step=0.5)
  logits = np.log([[1.0, 2.0, 1.0], [1.0, 1.0, 6.0]])
  np.testing.assert_allclose(
    helpers.jitted(halves.expected)(logits), [1.0, (0.5 + 1.0 + 9.0) / 8], rtol=1e-6
  )


def test_probabilities_of_extreme_logits_are_those_of_the_best_level():
  logits = jnp.array([[1e4, -1e4, 0, 0, 0], [0, 0, 0, 0, 1e30]])
  expected = helpers.jitted(levels.Scale().expected)(logits)
  np.testing.assert_array_equal(expected, [1, 5])


def test_frequencies_are_shrunk_to_those_of_all_columns():
  column, level = jnp.array([0, 0, 0, 1]), jnp.array([1, 1, 0, 1])
  frequencies = helpers.jitted(levels.smoothed_log_frequencies, static_argnums=(2, 3))
  got = frequencies(column, level, (3, 2), 6.0)
  # In all columns, 1 and 3 and one more of each: a third and two thirds.
  expected = [[3 / 9, 6 / 9], [2 / 7, 5 / 7], [2 / 6, 4 / 6]]
  np.testing.assert_allclose(got, np.log(expected), rtol=1e-6)


def test_sums_are_those_of_a_loop_over_entries():
  entries, level = batch()
  _, table = tables()
  expected = np.zeros((N_ROWS, WIDTH))
  for at in range(11):
    row, column = entries.segment[at], entries.column[at]
    expected[row] += table[column, level[at]]
  gather_sum = helpers.jitted(levels.gather_sum, static_argnums=3)
  got = gather_sum(table, entries, level, N_ROWS)
  np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('chunk', [4, 512])
def test_products_and_their_gradients_are_those_of_dense_arrays(chunk, monkeypatch):
  monkeypatch.setitem(sparse.CHUNK, jax.default_backend(), chunk)
  entries, _ = batch()
  weights = jnp.asarray(np.random.default_rng(1).normal(size=(15, LEVELS)))

  def dense(hidden, table, entries):
    every = jnp.einsum('bf,nkf->bnk', hidden, table)
    return every[entries.segment, entries.column]

  def total(function, hidden, table):
    return jnp.sum(weights * function(hidden, table, entries) ** 2)

  hidden, table = tables()
  np.testing.assert_allclose(
    helpers.jitted(levels.products)(hidden, table, entries),
    helpers.jitted(dense)(hidden, table, entries),
    rtol=1e-5,
  )
  slope = helpers.jitted(jax.grad(total, (1, 2)), static_argnums=0)
  ours, theirs = (slope(f, hidden, table) for f in (levels.products, dense))
  for one, two in zip(ours, theirs):
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
