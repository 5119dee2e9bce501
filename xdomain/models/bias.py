"""Mean + user bias + item bias: the floor of every rating table.

Koren 2010, eq. 1, on the target's training ratings:

  yhat_ui = mean + b_u + b_i
  J       = SSE + penalty (sum_u b_u^2 + sum_i b_i^2)

An epoch minimises J exactly, first over the items' biases, then over the users'.
The logged loss is the mean squared error without the penalty.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xdomain import base


class Hyper(NamedTuple):
  penalty: float = 4.0  # added to the number of ratings of a user or an item


class Biases(NamedTuple):
  mean: base.Array  # []
  user: base.Array  # [U]
  item: base.Array  # [T]


@functools.cache
def model(sizes: base.Sizes) -> base.Model:
  """Returns the bias model; it has no shape settings."""

  def init(key, data, hyper, previous):
    del key, hyper, previous
    mean = data.target.by_user.mean()
    return Biases(mean, jnp.zeros(sizes.users), jnp.zeros(sizes.target))

  def step(state, visit, data, key, hyper):
    del visit, key
    by_user, by_item = data.target.by_user, data.target.by_item
    item = _ridge(by_item, state.mean + state.user, hyper.penalty)
    user = _ridge(by_user, state.mean + item, hyper.penalty)
    state = Biases(state.mean, user, item)
    error = _rate(state, by_user.row, by_user.column) - by_user.value
    loss = jnp.mean(error**2)
    return state, {'loss': loss, 'ratings': jnp.float32(error.size)}

  def predict(state, data):
    del data
    return lambda users, items: _rate(state, users[:, None], items)

  stage = base.Stage(init, base.one_visit, step, predict)

  def fold_in(state, data, new, hyper):
    del data
    offset = state.mean + state.item
    return state._replace(user=_ridge(new.target.by_user, offset, hyper.penalty))

  return base.Model((stage,), predict, target_only=True, fold_in=fold_in)


def _ridge(rows, offset, penalty):
  """`[R]` best biases of the rows, given an offset for each column."""
  residual = rows.value - offset[rows.column]
  total = jax.ops.segment_sum(residual, rows.row, rows.n_rows, indices_are_sorted=True)
  return total / jnp.maximum(rows.length + penalty, 1e-6)


def _rate(state, users, items):
  return state.mean + state.user[users] + state.item[items]
