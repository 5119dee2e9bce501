"""EDLAE of both domains, solved over users: a linear autoencoder with dropout.

Steck 2020, of which EASE (Steck 2019) is dropout 0. With `X = [X_S, X_T]` the 0/1
rows of users in both domains, `n_i` the users of an item, and
`Lambda_i = penalty + dropout / (1 - dropout) n_i` for target items, the same
divided by `source_weight^2` for source items:

  minimise |X - X W|^2 + tr(W^T Lambda W)   subject to diag(W) = 0
  W = I - P diag(1 / P_jj),   P = (X^T X + Lambda)^-1

`P` has a row for each item. By Woodbury's identity its products need a system
of users alone: with `K = I + X Lambda^-1 X^T` and `A = K^-1 X_T`,

  P_jj     = 1 / Lambda_j - x_j^T A_j / Lambda_j^2
  s_j of x = x_j + ((x Lambda^-1 X^T) A_j - x_j) / (Lambda_j P_jj)

A source weight of 0 leaves the target alone, 1 treats both domains alike. The
loss that is logged is the minimum over the target's columns,
`sum_j (1 / P_jj - Lambda_j)`, for each of their cells.
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp

from xdomain import base, kernel_ridge, least_squares


class Hyper(NamedTuple):
  penalty: float = 100.0
  source_weight: float = 0.3
  dropout: float = 0.3


class Autoencoder(NamedTuple):
  dual: base.Array  # A [U, T]
  gain: base.Array  # 1 / (Lambda_j P_jj) [T]
  inverse: tuple[base.Array, base.Array]  # 1 / Lambda [S] and [T]
  anchors: kernel_ridge.Anchors


@functools.cache
def model(sizes: base.Sizes) -> base.Model:
  """EDLAE of both domains; it has no settings.

  Args:
    sizes: of the pair.
  """

  def init(key, data, hyper, previous):
    del key, previous
    return Autoencoder(
      jnp.zeros((sizes.users, sizes.target)),
      jnp.ones(sizes.target),
      _inverse_penalties(data, hyper),
      kernel_ridge.anchors(data),
    )

  def step(state, visit, data, key, hyper):
    del visit, key, hyper
    rows = kernel_ridge.rows_of(data)
    kernel = kernel_ridge.in_blocks(
      lambda users: kernel_rows(state, *rows(users)), sizes.users
    )
    seen = kernel_ridge.in_blocks(lambda users: rows(users)[1], sizes.users)
    dual = kernel_ridge.solve(kernel + jnp.eye(sizes.users), seen)
    left = 1 - jnp.sum(seen * dual, axis=0) * state.inverse[1]  # Lambda_j P_jj
    loss = jnp.mean((1 / left - 1) / state.inverse[1]) / sizes.users
    ratings = jnp.float32(data.target.by_user.n_entries)
    state = state._replace(dual=dual, gain=1 / left)
    return state, {'loss': loss, 'ratings': ratings}

  def predict_all(state, data):
    rows = kernel_ridge.rows_of(data)

    def score(users):
      source, target = rows(users)
      product = kernel_rows(state, source, target) @ state.dual
      return target + (product - target) * state.gain

    return score

  def predict(state, data):
    return least_squares.chosen(predict_all(state, data))

  stage = base.Stage(init, base.one_visit, step, predict)
  return base.Model((stage,), predict, predict_all=predict_all, fold_in=base.reads_rows)


def kernel_rows(
  state: Autoencoder, source: base.Array, target: base.Array
) -> base.Array:
  """`[B, U]` products `x Lambda^-1 X^T` of rows `[B, S]`, `[B, T]`."""
  users = state.dual.shape[0]
  return jnp.zeros(()) + sum(
    kernel_ridge.inner(entries, users, rows, weight)
    for rows, entries, weight in zip((source, target), state.anchors, state.inverse)
  )


def _inverse_penalties(data, hyper):
  """`1 / Lambda` of the source's and of the target's items."""
  drop = hyper.dropout / (1 - hyper.dropout)
  source, target = (
    1 / (hyper.penalty + drop * domain.by_item.length)
    for domain in (data.source, data.target)
  )
  return hyper.source_weight**2 * source, target
