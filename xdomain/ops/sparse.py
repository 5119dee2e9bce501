"""Sums over the observed cells of sparse rows, with gradients of their own.

A batch of `B` rows is held as `Entries`: `P` slots, each an observed cell or
padding. Costs are proportional to the entries, never to rows x columns.

No `[P, H]` array is built either. A loop takes `CHUNK` entries at a time, whose
rows stay in the cache; on a CPU it ends at the last observed entry, so padding
costs nothing. Entries are data and have no gradient. Only reverse mode is
defined, once: a loop of unknown length has no second derivative.

If more than a share `DENSE` of a batch's cells may be observed, or the batch comes
as `Cells`, the sums are matrix products over all cells instead, which are faster
there.
"""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

# On a CPU, chunks of 128 to 2048 take the same time, but the array in flight,
# [CHUNK, H], grows. An accelerator needs a whole batch at once, within reason.
CHUNK = {'cpu': 512}
LARGE_CHUNK = 1 << 16
# In benchmarks/autorec.py, pair1 is below this share and chunks are several times as
# fast; movielens is above it and products are as fast as the dense form.
DENSE = 0.02


class Entries(NamedTuple):
  """Observed cells of a batch of rows, flat; padding has weight 0."""

  segment: jax.Array  # [P] int32, which row of the batch; sorted
  column: jax.Array  # [P] int32
  value: jax.Array  # [P] float32, 0 where padded
  weight: jax.Array  # [P] float32, 1 for a cell and 0 for padding


class Cells(NamedTuple):
  """All cells of a batch of rows, observed or not: what matrix products take."""

  value: jax.Array  # [B, n] float32, 0 where not observed
  weight: jax.Array  # [B, n] float32, 1 where observed, else 0


def flatten_rows(
  start: jax.Array,
  column: jax.Array,
  value: jax.Array,
  rows: jax.Array,
  capacity: int,
) -> Entries:
  """The entries of some rows of a CSR matrix, padded to a fixed size.

  Args:
    start: `[R + 1]` where each row begins in `column` and `value`.
    column: `[E]` column ids.
    value: `[E]` values.
    rows: `[B]` row ids; `R` means an empty row.
    capacity: the number of slots. If the rows have more entries, all values are
      NaN, so that a loss cannot lose entries unnoticed.

  Returns:
    `Entries` with `P = capacity`, in the order of `rows`.
  """
  chex.assert_rank([start, column, value, rows], 1)
  start = jnp.append(start, start[-1])  # Row R is empty.
  if not column.size:  # Nothing can be gathered from nothing.
    column, value = jnp.zeros(1, column.dtype), jnp.zeros(1, value.dtype)
  begin = start[rows]
  length = start[rows + 1] - begin
  end = jnp.cumsum(length)  # [B]
  slot = jnp.arange(capacity, dtype=start.dtype)
  if rows.shape[0] == 1:  # One user of a service: nothing to repeat.
    segment = jnp.zeros(capacity, start.dtype)
  else:
    segment = jnp.repeat(
      jnp.arange(rows.shape[0], dtype=start.dtype),
      length,
      total_repeat_length=capacity,
    )
  weight = slot < end[-1]
  where = begin[segment] + slot - (end - length)[segment]
  where = jnp.where(weight, where, 0)
  value = jnp.where(weight, value[where], 0)
  value = jnp.where(end[-1] > capacity, jnp.nan, value)
  return Entries(
    segment,
    jnp.where(weight, column[where], 0),
    value,
    weight.astype(value.dtype),
  )


def _fold(body, init, entries):
  """Folds `body(carry, chunk)` over chunks of the entries, in order."""
  capacity = entries.weight.shape[0]
  size = CHUNK.get(jax.default_backend(), LARGE_CHUNK)
  if capacity <= size:
    return body(init, entries)
  if jax.default_backend() == 'cpu':
    # Counted to the last entry with a weight: a dropped one may lie before it.
    used = jnp.where(entries.weight > 0, jnp.arange(1, capacity + 1), 0)
    n_chunks = (jnp.max(used) + size - 1) // size
  else:  # A trip count that depends on the data travels to the host every turn.
    n_chunks = -(-capacity // size)
  padded = jax.tree.map(lambda x: jnp.pad(x, (0, -capacity % size)), entries)

  def step(i, carry):
    def at(x):
      return jax.lax.dynamic_slice_in_dim(x, i * size, size)

    return body(carry, jax.tree.map(at, padded))

  return jax.lax.fori_loop(0, n_chunks, step, init)


def gather_sum(table: jax.Array, entries: Entries | Cells, n_rows: int) -> jax.Array:
  """`[n_rows, H]` sums of table rows, weighted by value: an embedding bag.

  Args:
    table: `[n, H]` a row for each column id.
    entries: the observed entries of the rows, `P` slots, or all of their cells.
    n_rows: the number of rows of the batch, static.

  Returns:
    `dense @ table`, where `dense` is 0 in unobserved cells.
  """
  chex.assert_rank(table, 2)
  chex.assert_equal_shape(entries)
  if isinstance(entries, Cells):
    chex.assert_shape(entries.value, (n_rows, table.shape[0]))
    return entries.value @ table
  if _is_dense(entries, n_rows, table.shape[0]):
    value, _ = cells(entries, n_rows, table.shape[0])
    return value @ table
  return _gather_sum(table, entries, n_rows)


def _is_dense(entries, n_rows, n_columns):
  """Whether so many cells may be observed; known while tracing."""
  return entries.value.shape[0] > DENSE * n_rows * n_columns


def cells(entries: Entries, n_rows: int, n_columns: int) -> tuple[jax.Array, jax.Array]:
  """Weighted values and weights of all cells, both `[n_rows, n_columns]`."""
  chex.assert_rank(entries.column, 1)
  chex.assert_equal_shape(entries)
  row = jnp.where(entries.weight > 0, entries.segment, n_rows)
  empty = jnp.full((n_rows, n_columns), -jnp.inf, entries.value.dtype)
  value = empty.at[row, entries.column].set(entries.value * entries.weight, mode='drop')
  seen = value != -jnp.inf  # NaN is kept.
  return jnp.where(seen, value, 0), seen.astype(value.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _gather_sum(table, entries, n_rows):
  def body(total, e):
    scale = (e.value * e.weight)[:, None]
    return total.at[e.segment].add(scale * table[e.column])

  total = jnp.zeros((n_rows, table.shape[1]), table.dtype)
  return _fold(body, total, entries)


def _gather_sum_forward(table, entries, n_rows):
  # The residual is the gradient's buffer; a shape cannot be passed along.
  return _gather_sum(table, entries, n_rows), (jnp.zeros_like(table), entries)


def _gather_sum_backward(n_rows, residual, upstream):
  del n_rows
  gradient, entries = residual

  def body(gradient, e):
    scale = (e.value * e.weight)[:, None]
    return gradient.at[e.column].add(scale * upstream[e.segment])

  return _fold(body, gradient, entries), None


_gather_sum.defvjp(_gather_sum_forward, _gather_sum_backward)


def _error(hidden, table, bias, e):
  """Rows of both sides and the weighted residuals of a chunk of entries."""
  left, right = hidden[e.segment], table[e.column]  # [CHUNK, H]
  output = jnp.sum(left * right, axis=1) + bias[e.column]
  return left, right, e.weight * (output - e.value)


def squared_error(
  hidden: jax.Array, table: jax.Array, bias: jax.Array, entries: Entries | Cells
) -> jax.Array:
  """Sum over entries of `weight^2 (<hidden[row], table[col]> + bias - y)^2`.

  Args:
    hidden: `[B, H]` the last hidden layer of the batch.
    table: `[n, H]` output weights, a row for each column id.
    bias: `[n]` output bias, the offset included.
    entries: the observed entries of the batch, `P` slots, or all of its cells;
      weights are 0 or 1.

  Returns:
    The scalar sum. Value and gradients take one pass over the entries.
  """
  chex.assert_rank([hidden, table, bias], [2, 2, 1])
  chex.assert_equal_shape(entries)
  n_rows, n_columns = hidden.shape[0], table.shape[0]
  if not isinstance(entries, Cells) and _is_dense(entries, n_rows, n_columns):
    entries = Cells(*cells(entries, n_rows, n_columns))
  if isinstance(entries, Cells):
    error = hidden @ table.T + bias - entries.value
    return jnp.sum((entries.weight * error) ** 2)
  return _squared_error(hidden, table, bias, entries)


@jax.custom_vjp
def _squared_error(hidden, table, bias, entries):
  def body(total, e):
    _, _, error = _error(hidden, table, bias, e)
    return total + jnp.sum(error**2)

  return _fold(body, jnp.zeros((), hidden.dtype), entries)


def _squared_error_forward(hidden, table, bias, entries):
  def body(carry, e):
    total, d_hidden, d_table, d_bias = carry
    left, right, error = _error(hidden, table, bias, e)
    slope = 2 * e.weight * error
    return (
      total + jnp.sum(error**2),
      d_hidden.at[e.segment].add(slope[:, None] * right),
      d_table.at[e.column].add(slope[:, None] * left),
      d_bias.at[e.column].add(slope),
    )

  zeros = jax.tree.map(jnp.zeros_like, (hidden, table, bias))
  init = jnp.zeros((), hidden.dtype), *zeros
  total, *gradients = _fold(body, init, entries)
  return total, gradients


def _squared_error_backward(gradients, upstream):
  return *(upstream * g for g in gradients), None


_squared_error.defvjp(_squared_error_forward, _squared_error_backward)
