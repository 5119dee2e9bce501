"""Ridge regression from a user's source positives to the target's items.

Hoerl and Kennard 1970; Sedhain et al. 2017 use a low-rank form of it for
cold-start users. With `R_S` and `R_T` the 0/1 interactions of the users with
positives in the target:

  B = (R_S^T R_S + penalty I)^-1 R_S^T R_T,   scores of u = r_S,u B

Every user is scored from the source alone, so cold-start users need no special
case. A user without positives in the target is no row of the regression, because
such a user's target preferences are unknown rather than zero. The logged loss is
the minimum of `|R_T - R_S B|^2 + penalty |B|^2` per cell of `R_T`. Where there are far
fewer users than source items, the same scores come of a system of users,
`r_S,u R_S^T (R_S R_S^T + penalty I)^-1 R_T`.
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp

from xdomain import base, kernel_ridge, least_squares


class Hyper(NamedTuple):
  penalty: float = 300.0


class Weights(NamedTuple):
  weight: base.Array  # B [S, T]


class Dual(NamedTuple):
  dual: base.Array  # (R_S R_S^T + penalty I)^-1 R_T [U, T]
  entries: tuple[base.Array, base.Array]  # row and column of each source positive


@functools.cache
def model(sizes: base.Sizes) -> base.Model:
  """Returns ridge regression from source to target; it has no shape settings.

  Args:
    sizes: numbers of users and items.

  Raises:
    ValueError: Neither a matrix of all pairs of source items nor one of all pairs of
      users would fit in memory.
  """
  if least_squares.over_users('ridge', sizes.users, sizes.source):
    return over_users(sizes)
  return over_items(sizes)


def over_items(sizes: base.Sizes) -> base.Model:
  """Ridge regression by the inverse of a matrix of source items."""

  def init(key, data, hyper, previous):
    del key, data, hyper, previous
    return Weights(jnp.zeros((sizes.source, sizes.target)))

  def step(state, visit, data, key, hyper):
    del state, visit, key
    source, target = data.source.by_item, data.target.by_item
    known = data.target.by_user.length > 0
    gram = least_squares.products(source, source, known)
    shared = least_squares.products(source, target)
    weight = (
      least_squares.inverse(gram + hyper.penalty * jnp.eye(sizes.source)) @ shared
    )
    loss = target.n_entries - jnp.sum(shared * weight)
    return Weights(weight), _metrics(loss, data)

  def predict_all(state, data):
    return least_squares.of_anybody(state.weight, data.source.by_user)

  return _model(init, step, predict_all)


def over_users(sizes: base.Sizes) -> base.Model:
  """Ridge regression by a system of users."""

  def init(key, data, hyper, previous):
    del key, hyper, previous
    rows = data.source.by_user
    return Dual(jnp.zeros((sizes.users, sizes.target)), (rows.row, rows.column))

  def products(state, rows):
    return kernel_ridge.inner(state.entries, sizes.users, rows, 1.0)

  def step(state, visit, data, key, hyper):
    del visit, key
    known = data.target.by_user.length > 0
    source, target = (
      least_squares.cells_of(d.by_user) for d in (data.source, data.target)
    )
    kernel = kernel_ridge.in_blocks(
      lambda ids: products(state, source(ids)), sizes.users
    )
    seen = kernel_ridge.in_blocks(target, sizes.users)
    kernel = jnp.where(known[:, None] & known, kernel, 0)
    system = kernel + hyper.penalty * jnp.eye(sizes.users)
    dual = kernel_ridge.solve(system, seen)
    loss = hyper.penalty * jnp.sum(seen * dual)
    return state._replace(dual=dual), _metrics(loss, data)

  def predict_all(state, data):
    source = least_squares.cells_of(data.source.by_user)
    return lambda ids: products(state, source(ids)) @ state.dual

  return _model(init, step, predict_all)


def _metrics(loss, data):
  source, target = data.source.by_item, data.target.by_item
  users = jnp.sum(data.target.by_user.length > 0, dtype=jnp.float32)
  cells = jnp.maximum(users, 1) * target.n_rows
  return {
    'loss': loss / cells,
    'ratings': jnp.float32(source.n_entries + target.n_entries),
  }


def _model(init, step, predict_all):
  def predict(state, data):
    return least_squares.chosen(predict_all(state, data))

  stage = base.Stage(init, base.one_visit, step, predict)
  return base.Model((stage,), predict, predict_all=predict_all, fold_in=base.reads_rows)
