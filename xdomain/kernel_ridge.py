"""Ridge regression over users: what the dual closed forms are made of.

A method of this kind predicts the target row of a user from the kernel between
that user and the users it was trained on, its anchors:

  scores of x = k(x, anchors) A,   A = (K + penalty)^-1 X_T

The system has a row for each user and none for an item, so that catalogues of
any size cost only what their entries cost. That there is an entry counts, not
its value.
"""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from xdomain import base, least_squares
from xdomain.ops import sparse

BLOCK = 256  # Users whose kernel rows are computed at a time.


class Anchors(NamedTuple):
  """The 0/1 rows of the training users in both domains, by entry."""

  source: tuple[base.Array, base.Array]  # row and column, [E_s] each
  target: tuple[base.Array, base.Array]  # row and column, [E_t] each


def anchors(data: base.Arrays) -> Anchors:
  """The rows of all users of the training data."""
  source, target = data.source.by_user, data.target.by_user
  return Anchors((source.row, source.column), (target.row, target.column))


def rows_of(
  data: base.Arrays,
) -> Callable[[base.Array], tuple[base.Array, base.Array]]:
  """`users [B] -> ([B, S], [B, T])`: the 0/1 rows of users in both domains."""
  source = least_squares.cells_of(data.source.by_user)
  target = least_squares.cells_of(data.target.by_user)
  return lambda users: (source(users), target(users))


def inner(
  entries: tuple[base.Array, base.Array],
  n_users: int,
  rows: base.Array,
  weight: base.Array | float,
) -> base.Array:
  """`[B, U]` weighted inner products of rows with the anchors, in one domain.

  Args:
    entries: row and column of each entry of the anchors, `[E]` each; rows rise.
    n_users: how many anchors there are, U.
    rows: `[B, items]`.
    weight: of each item, `[items]`, or a scalar.
  """
  chex.assert_rank([*entries, rows], [1, 1, 2])
  row, column = entries
  one = jnp.ones(row.shape, rows.dtype)
  table = (rows * weight).T  # [items, B]
  return sparse.gather_sum(table, sparse.Entries(row, column, one, one), n_users).T


def in_blocks(function: Callable[[base.Array], base.Array], n_users: int) -> base.Array:
  """`function(users [B]) -> [B, ...]` of all users, `[U, ...]`, block by block."""
  block = min(BLOCK, n_users)
  users = jnp.arange(-(-n_users // block) * block).reshape(-1, block)
  values = jax.lax.map(function, jnp.minimum(users, n_users - 1))
  return values.reshape(-1, *values.shape[2:])[:n_users]


@jax.custom_batching.sequential_vmap
def solve(matrix: base.Array, right: base.Array) -> base.Array:
  """`[n, k]` solution of a positive definite system `[n, n]`.

  Members of a sweep are solved one at a time: batched LAPACK calls of jaxlib
  0.10 can wait forever for the thread that they run on.
  """
  return jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(matrix), right)


def among(known: base.Array, kernel: base.Array) -> base.Array:
  """`[U, U]` kernel in which users that are no anchors stand alone.

  Args:
    known: `[U]` bool, the users that have a target row to learn from.
    kernel: `[U, U]`.
  """
  both = known[:, None] & known
  return jnp.where(both, kernel, jnp.eye(known.size, dtype=kernel.dtype))
