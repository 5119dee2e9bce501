"""Implicit ALS: factors of all cells, of which positives are surer.

Hu, Koren and Volinsky 2008, eq. 3-5, on the 0/1 interactions of the target, or
of both domains as one (`config.view='merged'`). With `n_u` and `n_i` the
positives of a user and of an item:

  J = sum over all cells of (1 + alpha r_ui) (r_ui - <p_u, q_i>)^2
      + penalty (sum n_u^frequency |p_u|^2 + sum n_i^frequency |q_i|^2)

The zeros are never visited: their squares are `tr(P^T P Q^T Q)`. A frequency of
0 is the paper's penalty, 1 that of Zhou et al. 2008; Rendle et al. 2022 say
how much it matters. An epoch is one sweep of exact solutions, first of the
users, then of the items. The loss that is logged is J for each positive.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xdomain import base, least_squares


class Hyper(NamedTuple):
  alpha: float = 4.0  # extra confidence in a positive, eq. 3
  penalty: float = 30.0  # lambda, eq. 3
  frequency: float = 0.0  # power of the number of positives in the penalty


class Params(NamedTuple):
  user: base.Array  # P [U, H]
  item: base.Array  # Q [T, H]


@functools.cache
def model(sizes: base.Sizes, *, factors: int = 64) -> base.Model:
  """Implicit ALS of the target domain.

  Args:
    sizes: of the pair.
    factors: length of a user's or an item's vector, H.
  """

  def init(key, data, hyper, previous):
    del data, hyper, previous
    item = jax.random.normal(key, (sizes.target, factors))
    return Params(jnp.zeros((sizes.users, factors)), 0.1 * item)

  def step(state, visit, data, key, hyper):
    del visit, key
    rows = data.target
    user = fit_rows(rows.by_user, state.item, hyper)
    state = Params(user, fit_rows(rows.by_item, user, hyper))
    ratings = jnp.float32(rows.by_user.n_entries)
    loss = objective(state, rows, hyper) / jnp.maximum(ratings, 1)
    return state, {'loss': loss, 'ratings': ratings}

  def predict(state, data):
    del data
    return least_squares.dot(state.user, state.item)

  def predict_all(state, data):
    del data
    return lambda users: state.user[users] @ state.item.T

  stage = base.Stage(init, base.one_visit, step, predict)
  return base.Model((stage,), predict, predict_all=predict_all, target_only=True)


def fit_rows(rows, table, hyper):
  """`[R, H]` best vectors of the rows, given those of the columns, eq. 4-5."""
  factors = table.shape[1]
  gram, ridge = table.T @ table, penalties(rows, hyper)
  right = (1 + hyper.alpha) * least_squares.sums(table, rows)

  def system(ids):
    left = gram + hyper.alpha * least_squares.outer_sums(table, rows, ids)
    return left + ridge[ids, None, None] * jnp.eye(factors), right[ids]

  return least_squares.solve_each(rows, system)


def penalties(rows, hyper):
  """`[R]` what the squares of each row's vector are weighed with."""
  positives = jnp.maximum(rows.length, 1).astype(jnp.float32)
  return jnp.maximum(hyper.penalty * positives**hyper.frequency, 1e-6)


def objective(state, rows, hyper):
  """J, in one pass over the positives."""
  value = jnp.sum(
    least_squares.squared_error(state.user, state.item, rows.by_user, hyper.alpha)
  )
  for side, vectors in ((rows.by_user, state.user), (rows.by_item, state.item)):
    value += penalties(side, hyper) @ jnp.sum(vectors**2, axis=1)
  return value
