"""Sparse rows as flat entries: gather, sum by segment, score where observed.

The normal form of a batch of `B` rows is `Entries`: `P` slots, each one
observed cell or padding. All costs are proportional to `P`, never to
rows x columns.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp


class Entries(NamedTuple):
  """Observed cells of a batch of rows, flat; padding has weight 0."""

  segment: jax.Array  # [P] int32, which row of the batch; sorted
  column: jax.Array  # [P] int32
  value: jax.Array  # [P] float32, 0 where padded
  weight: jax.Array  # [P] float32, 1 for a cell and 0 for padding


def flatten_rows(start, column, value, rows, capacity):
  """The entries of some rows of a CSR matrix, padded to a fixed size.

  Args:
    start: `[R + 1]` where each row begins in `column` and `value`.
    column: `[E]` column ids.
    value: `[E]` values.
    rows: `[B]` row ids; `R` stands for an empty row.
    capacity: the number of slots. Where the rows have more entries, all
      values are NaN, so that a loss cannot lose entries in silence.

  Returns:
    `Entries` with `P = capacity`, in the order of `rows`.
  """
  chex.assert_rank([start, column, value, rows], 1)
  start = jnp.append(start, start[-1])  # Row R is empty.
  begin = start[rows]
  length = start[rows + 1] - begin
  end = jnp.cumsum(length)  # [B]
  slot = jnp.arange(capacity, dtype=start.dtype)
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


def densify(entries, n_rows, n_columns):
  """Values and mask `[n_rows, n_columns]` of flat entries."""
  chex.assert_equal_shape(entries)
  zeros = jnp.zeros((n_rows, n_columns), entries.value.dtype)
  at = entries.segment, entries.column
  return (
    zeros.at[at].add(entries.value * entries.weight),
    zeros.at[at].add(entries.weight),
  )


def gather_sum(table, entries, n_rows):
  """`[n_rows, H]` sums of table rows, weighted by value: an embedding bag.

  Equals `dense @ table` for the dense form of the entries, since a cell that
  was not observed is 0 there.
  """
  chex.assert_rank(table, 2)
  scale = (entries.value * entries.weight)[:, None]
  return jax.ops.segment_sum(
    scale * table[entries.column],
    entries.segment,
    n_rows,
    indices_are_sorted=True,
  )


def observed_scores(hidden, table, entries):
  """`[P]` products `<hidden[row], table[column]>`, at the entries only."""
  chex.assert_rank([hidden, table], 2)
  return jnp.sum(hidden[entries.segment] * table[entries.column], axis=1)
