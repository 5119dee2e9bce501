"""Least squares over sparse 0/1 matrices: what the closed forms are made of.

That there is an entry counts, not its value. Nothing of people x items is
built: products are of blocks of items, systems of blocks of rows.
"""

import jax
import jax.numpy as jnp

from xdomain.base import Array, Rows
from xdomain.ops import sparse

BLOCK = 128  # Items of a product at a time, each with a column of all people.
LARGEST = 20_000  # Items that fit a dense matrix of items x items.
BATCH = 64  # Rows with a system each at a time; [BATCH, H, H] fit a cache.
WIDTH = 32  # Entries of each of them at a time.


def check_size(method: str, items: int) -> None:
  """Raises a ValueError where a matrix of items x items would not fit."""
  if items > LARGEST:
    raise ValueError(
      f'{method} inverts a matrix of items x items; {items:,} items are too'
      f' many, {LARGEST:,} would do'
    )


def overlaps(left: Rows, ids, right: Rows, weight=1.0) -> Array:
  """`[B, n]` people that some items of `left` share with each of `right`.

  Args:
    left: items by people.
    ids: `[B]` items, of a batch of `left.batches`.
    right: `[n, U]` items by the same people.
    weight: of a person, `[U]` or a scalar.
  """
  _, seen = sparse.cells(left.entries(ids), ids.shape[0], left.n_columns)
  table = (seen * weight).T  # [U, B]
  return right.for_all(lambda others: _sum_of(table, right, others)).T


def products(left: Rows, right: Rows, weight=1.0) -> Array:
  """`[m, n]` people that two items share, of all pairs of items."""
  return left.for_all(lambda ids: overlaps(left, ids, right, weight), BLOCK)


def sums(table, rows: Rows) -> Array:
  """`[R, H]` sums of the rows of a table over the entries of each row."""
  return rows.for_all(lambda ids: _sum_of(table, rows, ids))


def _sum_of(table, rows, ids):
  return sparse.gather_sum(table, _present(rows.entries(ids)), ids.shape[0])


def _present(entries):
  return entries._replace(value=entries.weight)


def squared_error(left, right, rows: Rows, extra=0.0) -> Array:
  """`[R]` sums over all cells of a row, `sum_c (1 + extra r_c) (r_c - s_c)^2`.

  Zeros are not visited: of all cells, the squares of `s = <left, right>` sum to
  `p^T right^T right p`, which positives then correct.

  Args:
    left: `[R, H]`.
    right: `[n, H]`.
    rows: `[R, n]`, the 0/1 matrix `r`.
    extra: weight of the positives, beyond 1.
  """
  gram = right.T @ right

  def of(ids):
    entries = rows.entries(ids)
    p = left.at[ids].get(mode='fill', fill_value=0)  # [B, H]
    s = jnp.sum(p[entries.segment] * right[entries.column], axis=1)
    change = entries.weight * ((1 + extra) * (1 - s) ** 2 - s**2)
    change = jax.ops.segment_sum(change, entries.segment, ids.shape[0])
    return jnp.sum(p @ gram * p, axis=1) + change

  return rows.for_all(of)


def dot(left, right):
  """The score `<left_u, right_i>` of users and candidates."""
  return lambda users, items: jnp.einsum('bh,bkh->bk', left[users], right[items])


def of_anybody(table, rows: Rows):
  """The same sums for any users, `[B] -> [B, H]`, who may be asked twice."""
  longest = max(1, int(rows.lengths.falling.max(initial=0)))

  def of(users):
    entries = sparse.flatten_rows(
      rows.start, rows.column, rows.value, users, users.shape[0] * longest
    )
    return sparse.gather_sum(table, _present(entries), users.shape[0])

  return of


def chosen(score_all):
  """The score of candidates, from a function that scores all items."""

  def score(users, items):
    return jnp.take_along_axis(score_all(users), items, axis=1)

  return score


@jax.custom_batching.sequential_vmap
def inverse(matrix) -> Array:
  """`[n, n]` inverse of a positive definite matrix.

  One at a time, since batched LAPACK calls of jaxlib 0.10 can wait forever for
  the thread that they run on.
  """
  factor = jax.scipy.linalg.cho_factor(matrix)
  return jax.scipy.linalg.cho_solve(
    factor, jnp.eye(matrix.shape[0], dtype=matrix.dtype)
  )


def solve(left, right) -> Array:
  """`[H, K]` solutions of a positive definite system `[H, H]`.

  Gauss-Jordan, which needs no pivots here and batches well where `H` is small.
  """
  factors = left.shape[0]

  def eliminate(k, system):
    row = system[k] / system[k, k]
    return (system - system[:, k, None] * row).at[k].set(row)

  system = jnp.concatenate([left, right], axis=1)
  return jax.lax.fori_loop(0, factors, eliminate, system)[:, factors:]


def solve_each(rows: Rows, system) -> Array:
  """`[R, H]` solutions of a system of its own for each row.

  Args:
    rows: in whose order, by falling length, systems are made.
    system: `ids [B] -> left [B, H, H], right [B, H]`; id `R` is padding.
  """

  def of(ids):
    left, right = system(ids)
    return jax.vmap(solve)(left, right[..., None])[..., 0]

  ids = jnp.pad(
    rows.order, (0, -rows.n_rows % BATCH), constant_values=rows.n_rows
  ).reshape(-1, BATCH)
  solved = jax.lax.map(of, ids)  # [N, BATCH, H]
  result = jnp.zeros((rows.n_rows, solved.shape[-1]), solved.dtype)
  return result.at[ids].set(solved, mode='drop')


def outer_sums(table, rows: Rows, ids) -> Array:
  """`[B, H, H]` sums of `q q^T` over the entries of some rows.

  Costs what the longest of them costs, so ask for rows of about one length.
  """
  factors = table.shape[1]
  total = jnp.zeros((ids.shape[0], factors, factors), table.dtype)
  if not rows.n_entries:
    return total
  start = rows.start[ids]
  length = rows.length.at[ids].get(mode='fill', fill_value=0)

  def add(k, total):
    slot = k * WIDTH + jnp.arange(WIDTH)
    there = slot < length[:, None]  # [B, WIDTH]
    column = rows.column.at[start[:, None] + slot].get(mode='clip')
    seen = jnp.where(there[..., None], table[column], 0)
    return total + jnp.einsum('bwh,bwk->bhk', seen, seen)

  n = (jnp.max(length) + WIDTH - 1) // WIDTH
  return jax.lax.fori_loop(0, n, add, total)
