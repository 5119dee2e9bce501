import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import strategies as st

from tests import helpers
from xdomain.data import device
from xdomain.ops import sparse


def matrix(seed=0, rows=7, columns=9, share=0.4):
  """A dense matrix with an empty row and an empty column, and its rows."""
  rng = np.random.default_rng(seed)
  dense = rng.integers(1, 6, (rows, columns)) * (rng.random((rows, columns)) < share)
  dense[2] = 0
  dense[:, 4] = 0
  row, column = np.nonzero(dense)
  shuffled = rng.permutation(row.size)
  row, column = row[shuffled], column[shuffled]
  return dense, device.rows(row, column, dense[row, column], rows, columns)


def flatten_rows(start, column, value, ids, capacity):
  flatten = helpers.jitted(sparse.flatten_rows, static_argnums=4)
  return flatten(start, column, value, ids, capacity)


def gather_sum(table, entries, n_rows):
  return helpers.jitted(sparse.gather_sum, static_argnums=2)(table, entries, n_rows)


def flat(rows, ids, capacity=40):
  return flatten_rows(rows.start, rows.column, rows.value, np.array(ids), capacity)


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


def test_too_many_entries_are_not_lost_in_silence():
  _, rows = matrix()
  entries = flat(rows, IDS, 4)
  assert np.all(np.isnan(entries.value))
  table = np.ones((rows.n_columns, 1))
  assert np.any(np.isnan(gather_sum(table, entries, len(IDS))))


def test_arrays_of_other_ranks_are_refused():
  _, rows = matrix()
  with pytest.raises(AssertionError):
    sparse.flatten_rows(rows.start, rows.column, rows.value, jnp.zeros((2, 2), int), 5)


def test_any_rows_are_flattened_and_summed_as_the_dense_matrix():
  @jax.jit
  def program(start, column, value, ids, table):
    entries = sparse.flatten_rows(start, column, value, ids, 54)
    return sparse.gather_sum(table, entries, 6), *sparse.cells(entries, 6, 9)

  @hypothesis.settings(deadline=None, max_examples=25, derandomize=True)
  @hypothesis.given(
    cells=st.dictionaries(
      st.tuples(st.integers(0, 6), st.integers(0, 8)), st.integers(1, 5), max_size=40
    ),
    ids=st.lists(st.integers(0, 7), min_size=6, max_size=6),
  )
  def check(cells, ids):
    dense = np.zeros((8, 9), np.float32)  # The last row is padding.
    for place, value in cells.items():
      dense[place] = value
    row, column = np.nonzero(dense)
    start = np.searchsorted(row, np.arange(8))
    room = (0, 63 - row.size)  # All cells: one shape, so one program.
    table = np.arange(18, dtype=np.float32).reshape(9, 2)
    total, value, seen = program(
      start,
      np.pad(column, room),
      np.pad(dense[row, column], room),
      np.array(ids),
      table,
    )
    np.testing.assert_allclose(total, dense[ids] @ table)
    np.testing.assert_array_equal(value, dense[ids])
    np.testing.assert_array_equal(seen, dense[ids] > 0)

  check()


# --- Sums, against the dense form ---

ROWS, COLUMNS, HIDDEN = 37, 53, 7


def ratings(seed=0, density=0.4):
  """Dense `[ROWS, COLUMNS]` ratings, 0 where not observed; row 3 is empty."""
  rng = np.random.default_rng(seed)
  dense = rng.integers(1, 6, (ROWS, COLUMNS)).astype(float)
  dense *= rng.random((ROWS, COLUMNS)) < density
  dense[3] = 0
  return dense


def batches_of(dense, capacity, dtype):
  row, column = np.nonzero(dense)
  start = np.searchsorted(row, np.arange(len(dense) + 1))
  value = jnp.asarray(dense[row, column], dtype)

  def entries(rows):
    return flatten_rows(
      jnp.asarray(start, jnp.int32),
      jnp.asarray(column, jnp.int32),
      value,
      rows,
      capacity,
    )

  return entries


def parameters(dtype, seed=1):
  rng = np.random.default_rng(seed)
  shapes = {
    'w1': (COLUMNS, HIDDEN),
    'b1': (HIDDEN,),
    'w2': (COLUMNS, HIDDEN),
    'b2': (COLUMNS,),
  }
  return {k: jnp.asarray(rng.normal(0, 0.1, s), dtype) for k, s in shapes.items()}


def sparse_error(p, entries, n_rows):
  bag = sparse.gather_sum(p['w1'], entries, n_rows)
  hidden = jax.nn.sigmoid(p['b1'] + bag)
  return sparse.squared_error(hidden, p['w2'], p['b2'] + 3.0, entries)


def dense_error(p, y):
  hidden = jax.nn.sigmoid(p['b1'] + y @ p['w1'])
  output = hidden @ p['w2'].T + p['b2'] + 3.0
  return jnp.sum(jnp.where(y > 0, output - y, 0) ** 2)


def assert_trees_close(a, b, tolerance):
  def check(x, y):
    np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)

  jax.tree.map(check, a, b)


def epochs(gradient, p, batches, lr, alpha):
  """Adam with the penalty over all parameters, in one scan."""
  tx = optax.scale_by_adam()

  def step(carry, batch):
    p, moments = carry
    g = jax.tree.map(lambda g, w: g + 2 * alpha * w, gradient(p, batch), p)
    updates, moments = tx.update(g, moments)
    return (jax.tree.map(lambda w, u: w - lr * u, p, updates), moments), None

  return jax.lax.scan(step, (p, tx.init(p)), batches)[0][0]


@pytest.fixture(params=[512, 1 << 20, 'products', 16], autouse=True)
def form(request, monkeypatch, full_products):
  """Chunks much smaller and larger than a batch, and products of all cells.

  All in the precision of a run.
  """
  products = request.param == 'products'
  monkeypatch.setattr(sparse, 'DENSE', 0.0 if products else 2.0)
  if not products:
    monkeypatch.setattr(sparse, 'CHUNK', {jax.default_backend(): request.param})


@pytest.mark.parametrize('capacity', [900, 1024, 2500])
def test_values_and_gradients_equal_the_dense_form(capacity):
  with jax.enable_x64(True):
    y = ratings()
    p = parameters(jnp.float64)
    entries = batches_of(y, capacity, jnp.float64)(jnp.arange(ROWS))
    assert entries.weight.sum() == np.count_nonzero(y)
    got = helpers.jitted(jax.value_and_grad(sparse_error), static_argnums=2)(
      p, entries, ROWS
    )
    want = helpers.jitted(jax.value_and_grad(dense_error))(p, jnp.asarray(y))
    assert_trees_close(got, want, 1e-10)
    error = helpers.jitted(sparse_error, static_argnums=2)(p, entries, ROWS)
    np.testing.assert_allclose(error, want[0])


def test_a_bag_by_hand():
  one, zero = jnp.ones(2), jnp.zeros(2)
  entries = sparse.Entries(
    jnp.array([1, 1]), jnp.array([0, 2]), jnp.array([2.0, 3.0]), one
  )
  table = jnp.array([[1.0], [10.0], [100.0]])
  got = gather_sum(table, entries, 2)
  np.testing.assert_array_equal(got, [[0.0], [302.0]])
  nothing = entries._replace(weight=zero)
  np.testing.assert_array_equal(gather_sum(table, nothing, 2), [[0.0], [0.0]])


def test_an_entry_dropped_in_the_middle_hides_none_behind_it():
  entries = batches_of(ratings(), 1000, jnp.float32)(jnp.arange(ROWS))
  within = (np.arange(1000) >= 5) & (np.arange(1000) < 300)
  dropped = entries._replace(weight=np.where(within, 0, entries.weight))
  table = parameters(jnp.float32)['w1']
  scale = (dropped.value * dropped.weight)[:, None]
  assert_trees_close(
    gather_sum(table, dropped, ROWS),
    jax.ops.segment_sum(scale * table[dropped.column], dropped.segment, ROWS),
    1e-5,
  )


@pytest.mark.parametrize(
  ('dtype', 'tolerance'), [(jnp.float32, 1e-5), (jnp.float64, 1e-10)]
)
def test_training_with_a_penalty_equals_dense_adam(dtype, tolerance):
  # Most columns are untouched for many steps; the penalty moves them all.
  with jax.enable_x64(dtype == jnp.float64):
    y = ratings(density=0.03)
    rng = np.random.default_rng(2)
    batches = [rng.permutation(ROWS)[:36].reshape(9, 4) for _ in range(4)]
    batches = jnp.asarray(np.concatenate(batches), jnp.int32)
    batches = batches.at[0, 3].set(ROWS)  # An empty row pads the batch.
    entries = batches_of(y, 60, dtype)
    dense = jnp.asarray(np.vstack([y, np.zeros(COLUMNS)]), dtype)
    p = parameters(dtype)

    def by_entries(p, rows):
      return jax.grad(sparse_error)(p, entries(rows), rows.shape[0])

    def by_cells(p, rows):
      return jax.grad(dense_error)(p, dense[rows])

    got, want = (
      helpers.jitted(
        lambda p, gradient=gradient: epochs(gradient, p, batches, 1e-2, 1e-2)
      )(p)
      for gradient in (by_entries, by_cells)
    )
    assert_trees_close(got, want, tolerance)
    assert np.abs(got['w1'] - np.asarray(p['w1'])).max() > 0.05


def test_a_mapped_training_equals_its_members():
  entries = batches_of(ratings(), 1000, jnp.float32)
  p = parameters(jnp.float32)
  batches = jnp.arange(36).reshape(6, 6)

  def gradient(p, rows):
    return jax.grad(sparse_error)(p, entries(rows), 6)

  def train(lr, alpha):
    return epochs(gradient, p, batches, lr, alpha)

  lr, alpha = jnp.array([1e-2, 1e-3]), jnp.array([0.0, 1e-2])
  wide, train = helpers.jitted(jax.vmap(train))(lr, alpha), helpers.jitted(train)
  for i in range(2):
    member = jax.tree.map(lambda x, i=i: x[i], wide)
    assert_trees_close(member, train(lr[i], alpha[i]), 1e-5)


def test_mapping_over_batches_of_unequal_length():
  entries = batches_of(ratings(), 1000, jnp.float32)
  p = parameters(jnp.float32)
  rows = jnp.array([[0, 1, 2, ROWS], [ROWS, ROWS, 3, ROWS]])

  def gradient(rows):
    return jax.grad(sparse_error)(p, entries(rows), 4)

  wide, gradient = helpers.jitted(jax.vmap(gradient))(rows), helpers.jitted(gradient)
  for i in range(2):
    member = jax.tree.map(lambda x, i=i: x[i], wide)
    assert_trees_close(member, gradient(rows[i]), 1e-5)


def test_rates_are_traced_and_the_same_run_gives_the_same_bits():
  traces = []
  entries = batches_of(ratings(), 1000, jnp.float32)
  p = parameters(jnp.float32)

  @jax.jit
  def train(lr, alpha):
    traces.append(1)

    def gradient(p, rows):
      return jax.grad(sparse_error)(p, entries(rows), 6)

    return epochs(gradient, p, jnp.arange(36).reshape(6, 6), lr, alpha)

  first = train(1e-2, 1e-3)
  train(1e-3, 0.0)
  again = train(1e-2, 1e-3)
  assert len(traces) == 1
  jax.tree.map(np.testing.assert_array_equal, first, again)
