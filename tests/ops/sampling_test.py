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
