import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xdomain.data import arrays
from xdomain.ops import sparse


def matrix(seed=0, rows=7, columns=9, share=0.4):
  """A dense matrix with an empty row and an empty column, and its rows."""
  rng = np.random.default_rng(seed)
  dense = rng.integers(1, 6, (rows, columns)) * (
    rng.random((rows, columns)) < share
  )
  dense[2] = 0
  dense[:, 4] = 0
  row, column = np.nonzero(dense)
  shuffled = rng.permutation(row.size)
  row, column = row[shuffled], column[shuffled]
  return dense, arrays.rows(row, column, dense[row, column], rows, columns)


def flat(rows, ids, capacity=40):
  return sparse.flatten_rows(
    rows.start, rows.column, rows.value, jnp.asarray(ids), capacity
  )


IDS = [5, 2, 0, 7, 6, 5]  # An empty row, padding, and one row twice.


def test_entries_are_the_observed_cells_in_the_order_of_the_rows():
  dense, rows = matrix()
  entries = flat(rows, IDS)
  padded = np.vstack([dense, np.zeros(9)])
  segment, column = np.nonzero(padded[IDS])
  n = segment.size
  np.testing.assert_array_equal(entries.segment[:n], segment)
  np.testing.assert_array_equal(entries.column[:n], column)
  np.testing.assert_array_equal(entries.value[:n], padded[IDS][segment, column])
  np.testing.assert_array_equal(entries.weight, np.arange(40) < n)
  np.testing.assert_array_equal(entries.value[n:], 0)
  assert np.all(np.diff(entries.segment) >= 0)


def test_densified_entries_are_the_dense_rows():
  dense, rows = matrix()
  value, mask = sparse.densify(flat(rows, IDS), len(IDS), 9)
  padded = np.vstack([dense, np.zeros(9)])
  np.testing.assert_array_equal(value, padded[IDS])
  np.testing.assert_array_equal(mask, padded[IDS] > 0)


def test_the_bag_is_the_dense_product():
  dense, rows = matrix()
  table = np.random.default_rng(1).normal(size=(9, 3)).astype(np.float32)
  bag = sparse.gather_sum(jnp.asarray(table), flat(rows, IDS), len(IDS))
  padded = np.vstack([dense, np.zeros(9)])
  np.testing.assert_allclose(bag, padded[IDS] @ table, rtol=1e-5, atol=1e-6)


def test_observed_scores_are_cells_of_the_dense_product():
  _, rows = matrix()
  rng = np.random.default_rng(1)
  table, hidden = rng.normal(size=(9, 3)), rng.normal(size=(len(IDS), 3))
  entries = flat(rows, IDS)
  scores = sparse.observed_scores(
    jnp.asarray(hidden), jnp.asarray(table), entries
  )
  product = hidden @ table.T
  np.testing.assert_allclose(
    scores, product[entries.segment, entries.column], rtol=1e-5
  )


def test_padding_has_no_gradient():
  _, rows = matrix()
  few, many = flat(rows, IDS, 25), flat(rows, IDS, 200)

  def loss(table, entries):
    bag = sparse.gather_sum(table, entries, len(IDS))
    scores = sparse.observed_scores(bag, table, entries)
    return jnp.sum(entries.weight * (scores - entries.value) ** 2)

  table = jnp.asarray(np.random.default_rng(1).normal(size=(9, 3)))
  np.testing.assert_allclose(
    jax.grad(loss)(table, few), jax.grad(loss)(table, many), rtol=1e-5
  )


def test_too_many_entries_are_not_lost_in_silence():
  _, rows = matrix()
  assert np.all(np.isnan(flat(rows, IDS, 4).value))


def test_arrays_of_other_ranks_are_refused():
  _, rows = matrix()
  with pytest.raises(AssertionError):
    sparse.flatten_rows(
      rows.start, rows.column, rows.value, jnp.zeros((2, 2), int), 5
    )
