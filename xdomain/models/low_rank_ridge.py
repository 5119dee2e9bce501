"""Low-rank ridge regression from the source to the target, for cold-start users.

LoCo (Sedhain et al. 2017), solved over users. With `X_S`, `X_T` the 0/1 rows of
the users that have target interactions:

  A = (X_S X_S^T + penalty I)^-1 X_T,   F = X_S X_S^T A
  scores of x = (x_S X_S^T) A V V^T

`F` are the regression's fitted rows and `V [T, rank]` its leading right singular
vectors, found by subspace iteration (Halko et al. 2011): what source items
predict of a few directions of taste is kept, what they predict of a single item
is taken for noise. At full rank this is `ridge`. A user is known by source
interactions alone. The loss that is logged is the regression's minimum before
the projection, for each cell of the target.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xdomain import base, kernel_ridge, least_squares

ROUNDS = 8  # Of subspace iteration.
SPARE = 8  # Directions beyond the rank that are carried along.


class Hyper(NamedTuple):
  penalty: float = 300.0


class Regression(NamedTuple):
  left: base.Array  # A V [U, rank]
  right: base.Array  # V [T, rank]
  source: tuple[base.Array, base.Array]  # the anchors' entries


@functools.cache
def model(sizes: base.Sizes, *, rank: int = 20) -> base.Model:
  """Low-rank ridge regression from the source to the target.

  Args:
    sizes: of the pair.
    rank: directions of the target that are predicted.
  """
  width = min(rank + SPARE, sizes.users, sizes.target)
  kept = min(rank, width)

  def init(key, data, hyper, previous):
    del key, hyper, previous
    return Regression(
      jnp.zeros((sizes.users, kept)),
      jnp.zeros((sizes.target, kept)),
      kernel_ridge.anchors(data).source,
    )

  def step(state, visit, data, key, hyper):
    del visit
    known = data.target.by_user.length > 0
    source, target = (
      least_squares.cells_of(d.by_user) for d in (data.source, data.target)
    )
    kernel = kernel_ridge.in_blocks(
      lambda users: kernel_rows(state, sizes, source(users)), sizes.users
    )
    kernel = jnp.where(known[:, None] & known, kernel, 0)
    seen = kernel_ridge.in_blocks(target, sizes.users)
    system = kernel + hyper.penalty * jnp.eye(sizes.users)
    coefficients = kernel_ridge.solve(system, seen)
    start = jax.random.normal(key, (sizes.target, width))
    right = leading(kernel @ coefficients, start)[:, :kept]
    users = jnp.maximum(jnp.sum(known, dtype=jnp.float32), 1)
    loss = hyper.penalty * jnp.sum(seen * coefficients) / users / sizes.target
    ratings = jnp.float32(data.target.by_user.n_entries)
    state = state._replace(left=coefficients @ right, right=right)
    return state, {'loss': loss, 'ratings': ratings}

  def predict_all(state, data):
    source = least_squares.cells_of(data.source.by_user)
    return lambda users: (
      kernel_rows(state, sizes, source(users)) @ state.left @ state.right.T
    )

  def predict(state, data):
    return least_squares.chosen(predict_all(state, data))

  stage = base.Stage(init, base.one_visit, step, predict)
  return base.Model((stage,), predict, predict_all=predict_all, fold_in=base.reads_rows)


def kernel_rows(state: Regression, sizes: base.Sizes, source: base.Array) -> base.Array:
  """`[B, U]` products of source rows `[B, S]` with the anchors'."""
  return kernel_ridge.inner(state.source, sizes.users, source, 1.0)


def leading(matrix: base.Array, start: base.Array) -> base.Array:
  """`[T, width]` leading right singular vectors of `[U, T]`, largest first.

  Args:
    matrix: `[U, T]`.
    start: `[T, width]`, random.
  """

  def turn(basis, _):
    return orthonormal(matrix.T @ (matrix @ basis)), None

  basis, _ = jax.lax.scan(turn, orthonormal(start), length=ROUNDS)
  return basis @ rotation(matrix @ basis)


@jax.custom_batching.sequential_vmap
def orthonormal(basis: base.Array) -> base.Array:
  """An orthonormal basis of the same space, one member of a sweep at a time."""
  return jnp.linalg.qr(basis)[0]


@jax.custom_batching.sequential_vmap
def rotation(projected: base.Array) -> base.Array:
  """`[width, width]` right singular vectors of `[U, width]`, largest first."""
  return jnp.linalg.svd(projected, full_matrices=False)[2].T
