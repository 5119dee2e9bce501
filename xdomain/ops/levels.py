"""Ratings as K levels, for models with a softmax over rating values.

Tables are `[n, K, F]`: one row for each level of each column. As in `ops.sparse`,
the cost is proportional to the number of observed entries, and no `[P, K, F]`
array is built.
"""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from xdomain.ops import sparse


class Scale(NamedTuple):
  """The K rating values `lowest`, `lowest + step`, ..."""

  levels: int = 5
  lowest: float = 1.0
  step: float = 1.0

  def level(self, value: jax.Array):
    """The levels `0..K-1` whose ratings are nearest to the values, int32."""
    nearest = jnp.round((value - self.lowest) / self.step)
    return jnp.clip(nearest, 0, self.levels - 1).astype(jnp.int32)

  def expected(self, logits: jax.Array):
    """`[...]` mean ratings under the softmax of `[..., K]` logits."""
    chex.assert_axis_dimension(logits, -1, self.levels)
    ratings = self.lowest + self.step * jnp.arange(self.levels)
    return jax.nn.softmax(logits) @ ratings


def smoothed_log_frequencies(
  column: jax.Array, level: jax.Array, shape: tuple[int, int], strength: float = 5.0
):
  """`[n, K]` log frequencies of each level in a column, shrunk to those in all.

  Args:
    column: `[E]` column ids.
    level: `[E]` levels.
    shape: `(n, K)`.
    strength: weight of the prior in entries, a.

  Returns:
    `log((n_jk + a p_k) / (n_j + a))`, where `p` are the frequencies in all
    columns after one more entry of each level.
  """
  chex.assert_equal_shape([column, level])
  count = jnp.zeros(shape).at[column, level].add(1)
  in_all = jnp.sum(count, axis=0) + 1
  prior = strength * in_all / jnp.sum(in_all)
  total = jnp.sum(count, axis=1, keepdims=True)
  return jnp.log((count + prior) / (total + strength))


def gather_sum(
  table: jax.Array, entries: sparse.Entries, level: jax.Array, n_rows: int
):
  """`[n_rows, F]` sums of `table[column, level]` over the entries of each row.

  Args:
    table: `[n, K, F]`.
    entries: P slots; an entry of weight 0 is left out.
    level: `[P]`.
    n_rows: number of rows of the batch, static.
  """
  chex.assert_rank(table, 3)
  chex.assert_equal_shape([entries.column, level])
  n, k, width = table.shape
  flat = entries._replace(
    column=entries.column * k + level, value=jnp.ones_like(entries.value)
  )
  return sparse.gather_sum(table.reshape(n * k, width), flat, n_rows)


@jax.custom_vjp
def products(hidden: jax.Array, table: jax.Array, entries: sparse.Entries):
  """`[P, K]` products `<hidden[row], table[column, k]>` at the entries.

  Args:
    hidden: `[B, F]`.
    table: `[n, K, F]`.
    entries: P slots; values and weights are not read.
  """
  chex.assert_rank([hidden, table], [2, 3])

  def at(where):
    row, column = where
    return table[column] @ hidden[row]

  where = entries.segment, entries.column
  return jax.lax.map(at, where, batch_size=_chunk(table))


def _chunk(table):
  large = max(1, sparse.LARGE_CHUNK // table.shape[1])
  return sparse.CHUNK.get(jax.default_backend(), large)


def _products_forward(hidden, table, entries):
  return products(hidden, table, entries), (hidden, table, entries)


def _products_backward(residual, upstream):
  hidden, table, entries = residual

  def add(gradients, chunk):
    d_hidden, d_table = gradients
    row, column, slope = chunk  # [C], [C], [C, K]
    to_hidden = jnp.einsum('ck,ckf->cf', slope, table[column])
    to_table = slope[:, :, None] * hidden[row][:, None, :]
    return (d_hidden.at[row].add(to_hidden), d_table.at[column].add(to_table))

  split = functools.partial(_split, size=_chunk(table))
  chunks = jax.tree.map(split, (entries.segment, entries.column, upstream))
  zeros = jnp.zeros_like(hidden), jnp.zeros_like(table)
  gradients, _ = jax.lax.scan(
    lambda sums, chunk: (add(sums, chunk), None), zeros, chunks
  )
  return *gradients, None


def _split(x, size):
  """`[N, size, ...]` chunks of `[P, ...]`, padded with 0."""
  padding = ((0, -x.shape[0] % size), *((0, 0) for _ in x.shape[1:]))
  return jnp.pad(x, padding).reshape(-1, size, *x.shape[1:])


products.defvjp(_products_forward, _products_backward)
