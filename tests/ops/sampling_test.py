import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xdomain.ops import sampling

SHAPES = pytest.mark.parametrize(
  ('rows', 'batch'), [(1, 1), (1, 8), (7, 3), (60, 16), (64, 16), (65, 16)]
)


def lengths(rows):
  """Long-tailed row lengths, with empty rows."""
  return np.floor(300 / (1 + np.arange(rows)) ** 1.1).astype(int)


@SHAPES
def test_every_row_comes_once_and_the_rest_is_padding(rows, batch):
  order = jnp.arange(rows)
  batches = sampling.balanced_batches(jax.random.key(0), order, batch)
  assert batches.shape == (sampling.n_batches(rows, batch), batch)
  counts = np.bincount(np.ravel(batches), minlength=rows + 1)
  np.testing.assert_array_equal(counts[:rows], 1)
  assert counts[rows] == batches.size - rows


@SHAPES
def test_batches_differ_by_at_most_one_row(rows, batch):
  batches = sampling.balanced_batches(
    jax.random.key(0), jnp.arange(rows), batch
  )
  real = np.sum(batches < rows, axis=1)
  assert real.max() - real.min() <= 1


@SHAPES
@pytest.mark.parametrize('seed', range(3))
def test_no_batch_holds_more_than_the_capacity(rows, batch, seed):
  falling = lengths(rows)
  batches = sampling.balanced_batches(
    jax.random.key(seed), jnp.arange(rows), batch
  )
  held = np.append(falling, 0)[batches].sum(axis=1)
  assert held.max() <= sampling.capacity(falling, batch)


def test_the_capacity_is_at_most_the_mean_and_the_longest_row():
  falling = lengths(1000)
  for batch in (10, 50, 100):
    mean = falling.sum() / sampling.n_batches(1000, batch)
    assert sampling.capacity(falling, batch) <= mean + falling[0] + 1


def test_the_key_decides_and_changes_the_batches():
  order = jnp.arange(64)
  one, again, two = (
    sampling.balanced_batches(jax.random.key(k), order, 8) for k in (0, 0, 1)
  )
  np.testing.assert_array_equal(one, again)
  assert np.any(one != two)


def test_any_two_rows_of_different_strata_can_meet():
  order = jnp.arange(8)
  met = set()
  for seed in range(40):
    batches = sampling.balanced_batches(jax.random.key(seed), order, 2)
    met |= {tuple(sorted(map(int, b))) for b in batches}
  assert met == {(i, j) for i in range(4) for j in range(4, 8)}


@SHAPES
def test_shuffled_ids_come_once_in_batches_of_nearly_one_size(rows, batch):
  batches = sampling.shuffled(jax.random.key(0), rows, batch)
  counts = np.bincount(np.ravel(batches), minlength=rows + 1)
  np.testing.assert_array_equal(counts[:rows], 1)
  real = np.sum(batches < rows, axis=1)
  assert real.max() - real.min() <= 1


def test_shuffled_ids_change_with_the_key():
  one, two = (sampling.shuffled(jax.random.key(k), 64, 8) for k in (0, 1))
  assert np.any(one != two)


def absent(rows, n, n_columns=12, seed=0):
  """Draws from rows that hold columns 0, 3, 4, 11; none; all; all but 7."""
  held = [[0, 3, 4, 11], [], list(range(12)), [*range(7), *range(8, 12)]]
  start = jnp.cumsum(jnp.array([0, *map(len, held)]))
  column = jnp.array([c for row in held for c in row])
  return sampling.absent(
    jax.random.key(seed), start, column, n_columns, 12, jnp.array(rows), n
  )


def test_absent_columns_are_uniform_over_those_that_a_row_lacks():
  drawn = absent([0, 1, 3, 4], 24000)
  lacking = [[1, 2, 5, 6, 7, 8, 9, 10], range(12), [7], range(12)]
  for columns, expected in zip(np.asarray(drawn), lacking):
    counts = np.bincount(columns, minlength=12)
    assert set(np.flatnonzero(counts)) == set(expected)
    mean = 24000 / len(expected)
    assert np.sum((counts[list(expected)] - mean) ** 2) / mean < 35


def test_absent_columns_are_drawn_anew_for_each_row_and_key():
  one, two = absent([1, 1], 50)
  assert np.any(one != two)
  assert np.any(absent([1], 50, seed=1) != one)


def test_a_row_that_has_every_column_is_given_one_that_exists():
  np.testing.assert_array_equal(absent([2], 5), 11)


def test_without_entries_every_column_is_absent():
  none = jnp.zeros(0, jnp.int32)
  start = jnp.zeros(3, jnp.int32)
  drawn = sampling.absent(
    jax.random.key(0), start, none, 4, 0, jnp.array([0, 1]), 100
  )
  assert set(np.ravel(drawn)) == {0, 1, 2, 3}
