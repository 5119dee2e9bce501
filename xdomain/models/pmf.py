"""PMF: matrix factorisation of the target domain, without biases.

Salakhutdinov and Mnih 2008; `SVD(biased=False)` of the library Surprise, a baseline
of DARec. With N ratings, n_u of a user and n_i of an item:

  yhat_ui = offset * mean + <p_u, q_i>
  J       = SSE / N
            + penalty / N (sum_u n_u^power |p_u|^2 + sum_i n_i^power |q_i|^2)

This is the published sum times 2 / N, so `penalty` is the published lambda. With
power 1 it applies once per rating, as in Surprise; with power 0 once per user and
per item, as in the paper. Every step takes the penalty of all ratings, not of its
batch; the logged loss is without it.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xdomain import base, stages
from xdomain.ops import losses


class Hyper(NamedTuple):
  lr: float = 1e-3
  penalty: float = 0.06  # lambda
  power: float = 1.0  # 1 penalises per rating, 0 per user and item
  offset: float = 0.0  # 1 predicts around the training mean, 0 as published


class Params(NamedTuple):
  user: base.Array  # P [U, H]
  item: base.Array  # Q [T, H]


@functools.cache
def model(sizes: base.Sizes, *, factors: int = 64, batch: int = 1024) -> base.Model:
  """PMF on the target domain.

  Args:
    sizes: of the pair.
    factors: length of a user's or an item's vector, H.
    batch: ratings a step, B.
  """

  def init(key, data, hyper, previous):
    del previous
    shapes = (sizes.users, factors), (sizes.target, factors)
    keys = jax.random.split(key)
    tables = (0.1 * jax.random.normal(k, s) for k, s in zip(keys, shapes))
    return Params(*tables), hyper.offset * data.target.by_user.mean()

  def epoch(key, data):
    return data.target.by_user.shuffled(key, batch)

  def loss(params, level, visit, data, key, hyper):
    del key
    events = data.target.by_user.events(visit)
    error = rate(params, level, events.row, events.column) - events.value
    count = jnp.sum(events.weight)
    mse = jnp.sum(events.weight * error**2) / jnp.maximum(count, 1)
    penalty = _penalty(params, data.target, hyper)
    return mse + penalty, {'mse': mse, 'ratings': count}

  def predict(state, data):
    del data
    return lambda users, items: rate(state.params, state.frozen, users[:, None], items)

  stage = stages.gradient_stage(init, loss, epoch, predict=predict, name='pmf')
  return base.Model((stage,), stage.predict, trained, target_only=True)


def rate(params: Params, level: base.Array, users: base.Array, items: base.Array):
  """Ratings of users by items, over arrays of ids that broadcast."""
  return level + jnp.sum(params.user[users] * params.item[items], axis=-1)


def trained(data: base.Arrays, users: base.Array, items: base.Array):
  """Whether user and item both have training ratings."""
  known_user = data.target.by_user.length[users] > 0
  return known_user & (data.target.by_item.length[items] > 0)


def _penalty(params, domain, hyper):
  """The ridge of both tables; a row's strength goes with its ratings."""

  def ridge(table, rows):
    strength = hyper.penalty * rows.length**hyper.power / rows.n_entries
    return losses.ridge(table, strength[:, None])

  return ridge(params.user, domain.by_user) + ridge(params.item, domain.by_item)
