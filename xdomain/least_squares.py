"""Least squares over sparse 0/1 matrices, the building blocks of closed forms.

Only the positions of entries count, not their values. Nothing of size users x
items is built: products are formed for a block of items at a time and linear
systems for a block of rows at a time.
"""

import functools
from collections.abc import Callable, Sequence

import chex
import jax
import jax.numpy as jnp

from xdomain import precision, shards
from xdomain.base import Array, Rows, Score, Tree
from xdomain.ops import sampling, sparse

BLOCK = 128  # Items of a product at a time, each with a column of all users.
LARGEST = 20_000  # Items up to which a dense matrix of items x items fits.
# Slots of padded rows at a time. [SLOTS, H] stays in the cache of a CPU core; an
# accelerator needs many systems at once.
SLOTS = {'cpu': 1 << 12}
MANY_SLOTS = 1 << 18
SHORTEST = 8  # Rows up to this length share one class.


def over_users(method: str, users: int, items: int) -> bool:
  """Whether a closed form is solved over users instead of items.

  It is where a matrix of items x items would not fit, or would cost eight times as
  much; scores cost less over items.

  Raises:
    ValueError: neither matrix would fit.
  """
  if min(users, items) > LARGEST:
    raise ValueError(
      f'{method} inverts a matrix of users x users or of items x items; {users:,} users'
      f' and {items:,} items are too many, at most {LARGEST:,} of either fit; filter'
      ' the data, or choose a method that keeps no such matrix, as item_knn or ials'
    )
  cheaper = 8 * users**2 * (users + items) < items**3
  return items > LARGEST or (users <= LARGEST and cheaper)


def overlaps(left: Rows, ids: Array, right: Rows, weight: Array | float = 1.0) -> Array:
  """`[B, n]` numbers of users that items `ids` share with each item of `right`.

  Args:
    left: `[m, U]` items by users.
    ids: `[B]` items of `left`, a batch of `left.batches`.
    right: `[n, U]` items by the same users.
    weight: of a user, `[U]` or a scalar.
  """
  _, seen = sparse.cells(left.entries(ids), ids.shape[0], left.n_columns)
  table = (seen * weight).T  # [U, B]
  return right.for_all(lambda others: _sum_of(table, right, others)).T


def products(left: Rows, right: Rows, weight: Array | float = 1.0) -> Array:
  """`[m, n]` numbers of users that each item of `left` shares with each of `right`."""
  return left.for_all(lambda ids: overlaps(left, ids, right, weight), BLOCK)


def sums(table: Array, rows: Rows) -> Array:
  """`[R, H]` sums of the rows of a table over the entries of each row."""

  def of(ids, columns, observed):
    del ids
    seen = shards.looked_up(table, columns)
    return jnp.sum(jnp.where(observed[..., None], seen, 0), axis=1)

  return by_length(rows, of, table.shape[1])


def _sum_of(table, rows, ids):
  return sparse.gather_sum(table, _present(rows.entries(ids)), ids.shape[0])


def _present(entries):
  return entries._replace(value=entries.weight)


def squared_error(
  left: Array, right: Array, rows: Rows, extra: Array | float = 0.0
) -> Array:
  """`[R]` sums over all cells of a row, `sum_c (1 + extra r_c) (r_c - s_c)^2`.

  Zeros are not visited: over all cells, the squares of `s = <left, right>` sum to
  `p^T right^T right p`, and the positives then correct that sum.

  Args:
    left: `[R, H]`.
    right: `[n, H]`.
    rows: `[R, n]`, the 0/1 matrix `r`.
    extra: weight of the positives, beyond 1.
  """
  chex.assert_shape(left, (rows.n_rows, None))
  chex.assert_shape(right, (rows.n_columns, left.shape[1]))
  every_cell = jnp.sum(left @ (right.T @ right) * left, axis=1)
  if not rows.n_entries:
    return every_cell

  def of_positive(cell):
    row, column = cell
    s = left[row] @ right[column]
    return (1 + extra) * (1 - s) ** 2 - s**2

  slots = SLOTS.get(jax.default_backend(), MANY_SLOTS) // 2
  change = jax.lax.map(of_positive, (rows.row, rows.column), batch_size=slots)
  return every_cell.at[rows.row].add(change, indices_are_sorted=True)


def dot(left: Array, right: Array) -> Score:
  """The score `<left_u, right_i>` of users `[B]` and candidates `[B, K]`."""
  return lambda users, items: jnp.einsum('bh,bkh->bk', left[users], right[items])


def of_anybody(table: Array, rows: Rows) -> Callable[..., Array]:
  """`users [B] -> [B, H]`, the same sums for any users; ids may repeat."""
  longest = max(1, rows.longest)

  def of(users):
    entries = sparse.flatten_rows(
      rows.start, rows.column, rows.value, users, users.shape[0] * longest
    )
    return sparse.gather_sum(table, _present(entries), users.shape[0])

  return of


def cells_of(rows: Rows) -> Callable[[Array], Array]:
  """`users [B] -> [B, columns]`, the 0/1 cells of any rows; ids may repeat."""
  longest = max(1, rows.longest)

  def of(users):
    entries = sparse.flatten_rows(
      rows.start, rows.column, rows.value, users, users.shape[0] * longest
    )
    return sparse.cells(_present(entries), users.shape[0], rows.n_columns)[1]

  return of


def chosen(score_all: Callable[[Array], Array]) -> Score:
  """The score of candidates, by a function that scores all items."""

  def score(users, items):
    return jnp.take_along_axis(score_all(users), items, axis=1)

  return score


@jax.custom_batching.sequential_vmap
def inverse(matrix: Array) -> Array:
  """`[n, n]` inverse of a positive definite matrix.

  Members of a sweep are inverted one after another: batched LAPACK calls of jaxlib
  0.10 can wait forever for the thread that they run on.
  """
  factor = jax.scipy.linalg.cho_factor(matrix)
  return jax.scipy.linalg.cho_solve(
    factor, jnp.eye(matrix.shape[0], dtype=matrix.dtype)
  )


@jax.custom_batching.sequential_vmap
def eigen(matrix: Array) -> tuple[Array, Array]:
  """Eigenvalues `[n]` and eigenvectors `[n, n]`, in columns, of a symmetric matrix."""
  return jnp.linalg.eigh(matrix)


@jax.custom_batching.sequential_vmap
def _solve_alone(left, right):
  factor = jax.scipy.linalg.cho_factor(left)
  return jax.scipy.linalg.cho_solve(factor, right)


@precision.exact
def solve(left: Array, right: Array) -> Array:
  """`[B, H]` solutions of positive definite systems `[B, H, H]`, `[B, H]`.

  Batched on an accelerator. On a CPU one after another, because batched LAPACK
  calls of jaxlib 0.10 can wait forever for the thread that they run on.
  """
  chex.assert_shape(left, (*right.shape, right.shape[1]))
  if jax.default_backend() == 'cpu':
    return jax.vmap(_solve_alone)(left, right)
  lower = jnp.linalg.cholesky(left)
  half = jax.lax.linalg.triangular_solve(
    lower, right[..., None], left_side=True, lower=True
  )
  return jax.lax.linalg.triangular_solve(
    lower, half, left_side=True, lower=True, transpose_a=True
  )[..., 0]


def conjugate_gradients(
  apply: Callable[[Array], Array], right: Array, start: Array, steps: int
) -> tuple[Array, Array]:
  """Approximate solutions of positive definite systems, and residuals, both `[B, H]`.

  Args:
    apply: `x [B, H] -> [B, H]`, the product of each row's matrix with `x`.
    right: `[B, H]`.
    start: `[B, H]` where the iteration begins.
    steps: how many; `H` of them are exact in exact arithmetic.
  """

  def step(state, _):
    x, residual, direction, norm = state
    image = apply(direction)
    size = norm / jnp.maximum(jnp.sum(direction * image, axis=1), 1e-30)
    x = x + size[:, None] * direction
    residual = residual - size[:, None] * image
    after = jnp.sum(residual**2, axis=1)
    turn = after / jnp.maximum(norm, 1e-30)
    return (x, residual, residual + turn[:, None] * direction, after), None

  residual = right - apply(start)
  first = start, residual, residual, jnp.sum(residual**2, axis=1)
  (x, residual, _, _), _ = jax.lax.scan(step, first, None, steps)
  return x, residual


def by_length(rows: Rows, function: Callable[..., Tree], width: int) -> Tree:
  """`[R, ...]` values of a function of each row and its columns, in its tree.

  Rows are grouped in classes of similar length and padded to at most twice their
  length: a few loops over large, regular blocks. How many blocks a class has depends
  on the data, their shapes do not. On a mesh a block divides among its devices.

  Args:
    rows: the matrix.
    function: `(ids [B], columns [B, L], observed [B, L]) -> leaves [B, ...]`; id
      `R` is padding.
    width: the least that a row costs, in slots; it bounds the rows of a block.
  """
  slots = SLOTS.get(jax.default_backend(), MANY_SLOTS)
  start, column = jnp.append(rows.start, rows.start[-1]), rows.column
  if not column.size:  # Nothing can be gathered from nothing.
    column = jnp.zeros(1, jnp.int32)

  def of(longest, ids):
    first, slot = start[ids, None], jnp.arange(longest)
    observed = slot < start[ids + 1, None] - first  # [B, L]
    return function(ids, shards.read(column, first + slot), observed)

  values = jax.tree.map(
    lambda shape: jnp.zeros((rows.n_rows, *shape.shape[1:]), shape.dtype),
    jax.eval_shape(functools.partial(of, 1), jnp.zeros(shards.workers(), jnp.int32)),
  )
  begin = 0
  for shortest, longest in classes(rows.longest):
    end = jnp.sum(rows.length >= shortest)
    most = rows.n_entries // max(shortest, 1) + 1  # Rows that can be so long.
    size = max(1, min(slots // max(longest, width), most, rows.n_rows))
    size += -size % shards.workers()

    def block(k, values, begin=begin, end=end, longest=longest, size=size):
      at = begin + k * size + jnp.arange(size)
      ids = rows.order.at[at].get(mode='clip')
      ids = jnp.where(at < end, ids, rows.n_rows)
      return jax.tree.map(
        lambda all_of, some: all_of.at[ids].set(some, mode='drop'),
        values,
        of(longest, ids),
      )

    n_blocks = (end - begin + size - 1) // size
    values = jax.lax.fori_loop(0, n_blocks, block, values)
    begin = end
  return values


def classes(longest: int) -> list[tuple[int, int]]:
  """The shortest and the longest row of each class, by falling length."""
  ranges = []
  while longest > SHORTEST:
    ranges.append((longest // 2 + 1, longest))
    longest //= 2
  return [*ranges, (0, max(longest, 1))]


def side_by_side(several: Sequence[Rows]) -> Rows:
  """One matrix of several with the same rows; the columns of each follow the last's."""
  first, *others = several
  if not others:
    return first
  n_entries = sum(rows.n_entries for rows in several)
  start = functools.reduce(jnp.add, [rows.start for rows in several])
  row, column = jnp.zeros((2, n_entries), jnp.int32)
  value = jnp.zeros(n_entries, first.value.dtype)
  border = 0
  for k, rows in enumerate(several):
    place = jnp.arange(rows.n_entries)
    for j, other in enumerate(several):
      if j != k:  # Entries of the domains before come first in a row.
        place = place + other.start[rows.row + int(j < k)]
    row = row.at[place].set(rows.row)
    column = column.at[place].set(rows.column + border)
    value = value.at[place].set(rows.value)
    border += rows.n_columns
  order = jnp.argsort(start[:-1] - start[1:])  # by falling length, stable
  longest = sampling.round_up(sum(rows.longest for rows in several))
  return Rows(start, row, column, value, order, border, longest)
