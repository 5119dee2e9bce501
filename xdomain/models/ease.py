"""EASE: a linear autoencoder whose items may not predict themselves.

Steck 2019, eq. 8. With `X` the 0/1 interactions of the target, or of both domains
in the merged view, `G = X^T X` the number of users that two items share, and
`P = (G + penalty I)^-1`:

  minimise |X - X W|^2 + penalty |W|^2   subject to diag(W) = 0
  W_ij = -P_ij / P_jj off the diagonal,   scores = X W

The minimum is `sum_j (1 / P_jj - penalty)`. It is the logged loss, divided by the
number of cells of `X`. Where there are far fewer users than items, the same scores
come of a system of users, as in `edlae`: with `K = X X^T / penalty + I` and
`A = K^-1 X`,

  penalty P_jj = 1 - x_j^T A_j / penalty
  s_j of x     = x_j + (x X^T A_j / penalty - x_j) / (penalty P_jj)
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp

from xdomain import base, kernel_ridge, least_squares


class Hyper(NamedTuple):
  penalty: float = 500.0


class Weights(NamedTuple):
  weight: base.Array  # W [T, T]


class Dual(NamedTuple):
  dual: base.Array  # A [U, T]
  gain: base.Array  # 1 / (penalty P_jj) [T]
  penalty: base.Array  # []
  entries: tuple[base.Array, base.Array]  # row and column of each positive


@functools.cache
def model(sizes: base.Sizes) -> base.Model:
  """Returns EASE of the target domain; it has no shape settings.

  Args:
    sizes: numbers of users and items.

  Raises:
    ValueError: Neither a matrix of all pairs of items nor one of all pairs of users
      would fit in memory.
  """
  if least_squares.over_users('ease', sizes.users, sizes.target):
    return over_users(sizes)
  return over_items(sizes)


def over_items(sizes: base.Sizes) -> base.Model:
  """EASE by the inverse of a matrix of items."""

  def init(key, data, hyper, previous):
    del key, data, hyper, previous
    return Weights(jnp.zeros((sizes.target, sizes.target)))

  def step(state, visit, data, key, hyper):
    del state, visit, key
    rows = data.target.by_item
    itself = jnp.eye(sizes.target, dtype=bool)
    gram = least_squares.products(rows, rows)
    shared = least_squares.inverse(gram + hyper.penalty * itself)
    own = jnp.diag(shared)
    weight = jnp.where(itself, 0, -shared / own)
    loss = jnp.mean(1 / own - hyper.penalty) / sizes.users
    ratings = jnp.float32(rows.n_entries)
    return Weights(weight), {'loss': loss, 'ratings': ratings}

  def predict_all(state, data):
    return least_squares.of_anybody(state.weight, data.target.by_user)

  return _model(init, step, predict_all)


def over_users(sizes: base.Sizes) -> base.Model:
  """EASE by a system of users."""
  users, items = sizes.users, sizes.target

  def init(key, data, hyper, previous):
    del key, previous
    rows = data.target.by_user
    penalty = jnp.float32(hyper.penalty)
    empty = jnp.zeros((users, items)), jnp.ones(items)
    return Dual(*empty, penalty, (rows.row, rows.column))

  def step(state, visit, data, key, hyper):
    del visit, key
    cells = least_squares.cells_of(data.target.by_user)
    kernel = kernel_ridge.in_blocks(lambda ids: products(state, cells(ids)), users)
    seen = kernel_ridge.in_blocks(cells, users)
    dual = kernel_ridge.solve(kernel + jnp.eye(users), seen)
    left = 1 - jnp.sum(seen * dual, axis=0) / hyper.penalty  # penalty P_jj
    loss = hyper.penalty * jnp.mean(1 / left - 1) / users
    ratings = jnp.float32(data.target.by_user.n_entries)
    return state._replace(dual=dual, gain=1 / left), {'loss': loss, 'ratings': ratings}

  def products(state, rows):
    return kernel_ridge.inner(state.entries, users, rows, 1 / state.penalty)

  def predict_all(state, data):
    cells = least_squares.cells_of(data.target.by_user)

    def score(ids):
      rows = cells(ids)
      return rows + (products(state, rows) @ state.dual - rows) * state.gain

    return score

  return _model(init, step, predict_all)


def _model(init, step, predict_all):
  def predict(state, data):
    return least_squares.chosen(predict_all(state, data))

  stage = base.Stage(init, base.one_visit, step, predict)
  return base.Model(
    (stage,),
    predict,
    predict_all=predict_all,
    target_only=True,
    fold_in=base.reads_rows,
  )
