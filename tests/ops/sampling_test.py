import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from xdomain.ops import sampling

SHAPES = pytest.mark.parametrize(
  ('rows', 'batch'), [(1, 1), (1, 8), (7, 3), (60, 16), (64, 16), (65, 16)]
)


balanced_batches = jax.jit(sampling.balanced_batches, static_argnums=2)
shuffled = jax.jit(sampling.shuffled, static_argnums=(1, 2))


def lengths(rows):
  """Long-tailed row lengths, with empty rows."""
  return np.floor(300 / (1 + np.arange(rows)) ** 1.1).astype(int)


@SHAPES
def test_every_row_comes_once_and_the_rest_is_padding(rows, batch):
  order = jnp.arange(rows)
  batches = balanced_batches(jax.random.key(0), order, batch)
  assert batches.shape == (sampling.n_batches(rows, batch), batch)
  counts = np.bincount(np.ravel(batches), minlength=rows + 1)
  np.testing.assert_array_equal(counts[:rows], 1)
  assert counts[rows] == batches.size - rows


@SHAPES
def test_batches_differ_by_at_most_one_row(rows, batch):
  batches = balanced_batches(jax.random.key(0), jnp.arange(rows), batch)
  real = np.sum(np.asarray(batches) < rows, axis=1)
  assert real.max() - real.min() <= 1


@SHAPES
@pytest.mark.parametrize('seed', range(3))
def test_no_batch_holds_more_than_the_capacity(rows, batch, seed):
  falling = lengths(rows)
  batches = balanced_batches(jax.random.key(seed), jnp.arange(rows), batch)
  held = np.append(falling, 0)[batches].sum(axis=1)
  capacity = sampling.capacity(rows, int(falling.sum()), int(falling[0]), batch)
  assert held.max() <= capacity <= batch * falling[0]


@pytest.mark.parametrize('steps', [1, 2, 16])
def test_sizes_are_rounded_up_to_so_many_an_octave(steps):
  rounded = [sampling.round_up(number, steps) for number in range(3000)]
  for number, up in enumerate(rounded):
    assert number <= up <= max(number, number * (1 + 1 / steps))
  assert len({up for up in rounded if 1024 < up <= 2048}) == steps


def test_the_key_decides_and_changes_the_batches():
  order = jnp.arange(64)
  one, again, two = (balanced_batches(jax.random.key(k), order, 8) for k in (0, 0, 1))
  np.testing.assert_array_equal(one, again)
  assert np.any(one != two)


def test_any_two_rows_of_different_strata_can_meet():
  order = jnp.arange(8)
  met = set()
  for seed in range(40):
    batches = np.asarray(balanced_batches(jax.random.key(seed), order, 2))
    met |= {tuple(sorted(map(int, b))) for b in batches}
  assert met == {(i, j) for i in range(4) for j in range(4, 8)}


@pytest.mark.parametrize(
  ('n', 'batch'), [(0, 4), (1, 4), (7, 3), (1000, 64), (961, 31)]
)
def test_shuffled_ids_come_once_in_batches_of_nearly_one_size(n, batch):
  ids = np.asarray(shuffled(jax.random.key(0), n, batch))
  assert ids.shape[1] == batch
  np.testing.assert_array_equal(np.sort(ids[ids < n]), np.arange(n))
  assert ids.size < n + np.sqrt(n) + 1 + batch
  if n == 1000:
    assert np.min(np.sum(ids < n, axis=1)) >= batch - 6


@pytest.mark.matrix
def test_any_two_shuffled_ids_meet_as_often_as_by_chance():
  n, batch = 30, 6
  keys = jax.random.split(jax.random.key(0), 4000)
  ids = np.asarray(jax.jit(jax.vmap(lambda key: shuffled(key, n, batch)))(keys))
  where = np.argsort(ids.reshape(len(keys), -1), axis=1)[:, :n] // batch
  together = np.mean(where[:, :, None] == where[:, None], axis=0)
  apart = together[~np.eye(n, dtype=bool)]
  chance = (batch - 1) / (n - 1)
  assert np.max(np.abs(apart - chance)) < 5 * np.sqrt(chance / len(keys))


def test_shuffled_ids_change_with_the_key():
  one, two = (shuffled(jax.random.key(k), 64, 8) for k in (0, 1))
  assert np.any(one != two)


def absent(rows, n, n_columns=12, seed=0, within=None):
  """Draws from rows that hold columns 0, 3, 4, 11; none; all; all but 7."""
  held = [[0, 3, 4, 11], [], list(range(12)), [*range(7), *range(8, 12)]]
  start = np.cumsum([0, *map(len, held)])
  column = np.array([c for row in held for c in row])
  draw = jax.jit(sampling.absent, static_argnums=(3, 4, 6))
  key, rows = jax.random.key(seed), np.array(rows)
  return jax.device_get(draw(key, start, column, n_columns, 12, rows, n, within))


def test_absent_columns_are_uniform_over_those_that_a_row_lacks():
  drawn, any_ = absent([0, 1, 3, 4], 24000)
  assert np.all(any_)
  lacking = [[1, 2, 5, 6, 7, 8, 9, 10], range(12), [7], range(12)]
  for columns, expected in zip(np.asarray(drawn), lacking):
    assert_uniform(columns, expected)


def assert_uniform(columns, expected):
  counts = np.bincount(columns, minlength=12)
  assert set(np.flatnonzero(counts)) == set(expected)
  mean = columns.size / len(expected)
  assert np.sum((counts[list(expected)] - mean) ** 2) / mean < 35


def test_absent_columns_are_drawn_within_bounds():
  rows, low, high = zip(
    (0, 0, 4),
    (0, 4, 12),
    (0, 3, 5),
    (1, 6, 9),
    (2, 2, 6),
    (3, 7, 12),
    (4, 0, 2),
  )
  drawn, any_ = absent(rows, 24000, within=(np.array(low), np.array(high)))
  lacking = [[1, 2], [5, 6, 7, 8, 9, 10], [4], [6, 7, 8], [5], [7], [0, 1]]
  for columns, expected in zip(np.asarray(drawn), lacking):
    assert_uniform(columns, expected)
  assert any_.tolist() == [True, True, False, True, False, True, True]


def test_absent_columns_are_drawn_anew_for_each_row_and_key():
  one, two = absent([1, 1], 50)[0]
  assert np.any(one != two)
  assert np.any(absent([1], 50, seed=1)[0] != one)


def test_a_row_that_has_every_column_is_given_one_that_exists():
  drawn, any_ = absent([2], 5)
  np.testing.assert_array_equal(drawn, 11)
  assert not any_


def test_without_entries_every_column_is_absent():
  none, start = np.zeros(0, np.int32), np.zeros(3, np.int32)
  draw = jax.jit(sampling.absent, static_argnums=(3, 4, 6))
  drawn, _ = draw(jax.random.key(0), start, none, 4, 0, np.array([0, 1]), 100)
  assert set(np.ravel(drawn)) == {0, 1, 2, 3}


@pytest.mark.matrix
@hypothesis.settings(deadline=None, max_examples=25, derandomize=True)
@hypothesis.given(
  held=st.lists(st.sets(st.integers(0, 8)), min_size=5, max_size=5),
  rows=st.lists(st.integers(0, 5), min_size=6, max_size=6),
  bounds=st.tuples(st.integers(0, 8), st.integers(1, 9)).map(sorted),
  seed=st.integers(0, 2**31 - 1),
)
def test_no_row_is_ever_given_a_column_that_it_has(held, rows, bounds, seed):
  low, high = bounds[0], max(bounds[1], bounds[0] + 1)
  lengths = np.array([len(row) for row in held] + [0])  # The last row is padding.
  column = np.array([c for row in held for c in sorted(row)], np.int32)
  within = jnp.full(6, low), jnp.full(6, high)
  columns, any_ = drawn_absent(
    jax.random.key(seed),
    jnp.asarray(np.cumsum([0, *lengths]), jnp.int32),
    jnp.asarray(np.pad(column, (0, 45 - column.size))),
    jnp.asarray(rows),
    within,
  )
  for row, drawn, some in zip(rows, np.asarray(columns), np.asarray(any_)):
    lacking = set(range(low, high)) - (held[row] if row < 5 else set())
    assert some == bool(lacking)
    assert set(drawn.tolist()) <= (lacking or {high - 1})


@jax.jit
def drawn_absent(key, start, column, rows, within):
  return sampling.absent(key, start, column, 9, 16, rows, 20, within)
