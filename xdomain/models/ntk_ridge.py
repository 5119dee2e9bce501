"""Infinitely wide autoencoder: kernel ridge regression between users.

Sachdeva et al. 2022 (inf-AE), over both domains. The kernel is the neural
tangent kernel of one infinitely wide hidden layer of rectified linear units
(Jacot et al. 2018) between the 0/1 rows of users,
`x = [source_weight x_S, target_weight x_T]` of `D = S + T` columns, with
`c(x, y) = 2 <x, y> / D + 0.01` and the angle `t = arccos(c(x, y) / n)`, where
`n = sqrt(c(x, x) c(y, y))`:

  nngp(x, y) = 2 n (sin t + (pi - t) cos t) / (2 pi) + 0.01
  k(x, y)    = 2 c(x, y) (pi - t) / (2 pi) + nngp(x, y)

  scores of x = k(x, anchors) (K + penalty tr(K)/U I)^-1 X_T

The anchors are the users that have target interactions. A source weight of 0
leaves the target alone; a target weight of 0 is for cold-start users, whose
target rows are empty. Training is one exact solution. The loss that is logged is
the minimum of the regression's objective for each cell.
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp

from xdomain import base, kernel_ridge, least_squares

BIAS = 0.01  # Variance of the biases.


class Hyper(NamedTuple):
  penalty: float = 1.0  # relative to the mean of the kernel's diagonal
  source_weight: float = 0.3
  target_weight: float = 1.0


class Regression(NamedTuple):
  coefficients: base.Array  # A [U, T]
  anchors: kernel_ridge.Anchors
  weights: tuple[base.Array, base.Array]  # [] of the source, [] of the target


@functools.cache
def model(sizes: base.Sizes) -> base.Model:
  """Kernel ridge regression on both domains; it has no settings.

  Args:
    sizes: of the pair.
  """

  def init(key, data, hyper, previous):
    del key, previous
    weights = jnp.float32(hyper.source_weight), jnp.float32(hyper.target_weight)
    empty = jnp.zeros((sizes.users, sizes.target))
    return Regression(empty, kernel_ridge.anchors(data), weights)

  def step(state, visit, data, key, hyper):
    del visit, key
    known = data.target.by_user.length > 0
    rows = kernel_ridge.rows_of(data)
    kernel = kernel_ridge.in_blocks(
      lambda users: kernel_rows(state, sizes, *rows(users)), sizes.users
    )
    kernel = kernel_ridge.among(known, kernel)
    users = jnp.maximum(jnp.sum(known, dtype=jnp.float32), 1)
    level = hyper.penalty * jnp.sum(known * jnp.diag(kernel)) / users
    seen = kernel_ridge.in_blocks(lambda users: rows(users)[1], sizes.users)
    system = kernel + level * jnp.eye(sizes.users)
    coefficients = kernel_ridge.solve(system, seen)
    loss = level * jnp.sum(seen * coefficients) / users / sizes.target
    ratings = jnp.float32(data.target.by_user.n_entries)
    state = state._replace(coefficients=coefficients)
    return state, {'loss': loss, 'ratings': ratings}

  def predict_all(state, data):
    rows = kernel_ridge.rows_of(data)
    return lambda users: kernel_rows(state, sizes, *rows(users)) @ state.coefficients

  def predict(state, data):
    return least_squares.chosen(predict_all(state, data))

  stage = base.Stage(init, base.one_visit, step, predict)
  return base.Model((stage,), predict, predict_all=predict_all, fold_in=base.reads_rows)


def kernel_rows(
  state: Regression, sizes: base.Sizes, source: base.Array, target: base.Array
) -> base.Array:
  """`[B, U]` kernel between rows `[B, S]`, `[B, T]` and the anchors."""
  squared = [jnp.float32(weight) ** 2 for weight in state.weights]
  product = own = norm = jnp.zeros(())
  for rows, entries, weight in zip((source, target), state.anchors, squared):
    product += kernel_ridge.inner(entries, sizes.users, rows, weight)
    own += weight * jnp.sum(rows, axis=1)
    norm += weight * jnp.zeros(sizes.users).at[entries[0]].add(1.0)
  return tangent(product, own, norm, sizes.source + sizes.target)


def tangent(
  product: base.Array, left: base.Array, right: base.Array, columns: int
) -> base.Array:
  """`[B, U]` neural tangent kernel from inner products.

  Args:
    product: `[B, U]` inner products.
    left: `[B]` squared norms of the rows.
    right: `[U]` squared norms of the anchors.
    columns: of a row, D.
  """
  scaled, left, right = (2 * x / columns + BIAS for x in (product, left, right))
  norms = jnp.sqrt(left[:, None] * right)
  cosine = jnp.clip(scaled / norms, -1, 1)
  angle = jnp.arccos(cosine)
  # sin(arccos(c)) without the loss of digits near 1.
  sine = jnp.sqrt(jnp.maximum(0, (1 - cosine) * (1 + cosine)))
  process = norms * (sine + (jnp.pi - angle) * cosine) / jnp.pi + BIAS
  return scaled * (jnp.pi - angle) / jnp.pi + process
