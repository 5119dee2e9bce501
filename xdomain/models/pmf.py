"""PMF: matrix factorisation of the target domain, without biases.

Salakhutdinov and Mnih 2008; `SVD(biased=False)` of the library Surprise, a baseline
of DARec. With N ratings, n_u of a user and n_i of an item:

  yhat_ui = offset * mean + <p_u, q_i>
  J       = SSE / N
            + penalty / N (sum_u n_u^power |p_u|^2 + sum_i n_i^power |q_i|^2)

This is the published sum times 2 / N, so `penalty` is the published lambda. With
power 1 it applies once per rating, as in Surprise; with power 0 once per user and
per item, as in the paper. The logged loss is without the penalty.

By 'adam', every step takes the penalty of all ratings, and Adam passes over both
tables. By 'sgd', a step follows the gradient of N J / 2 of its ratings alone, and only
their rows change: plain stochastic gradient descent in batches, at the same rates and
penalties as Surprise's.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xdomain import base, stages, wording
from xdomain.ops import losses

SOLVERS = ('adam', 'sgd')


class Hyper(NamedTuple):
  lr: float = 1e-3
  penalty: float = 0.06  # lambda
  power: float = 1.0  # 1 penalises per rating, 0 per user and item
  offset: float = 0.0  # 1 predicts around the training mean, 0 as published


class Params(NamedTuple):
  user: base.Array  # P [U, H]
  item: base.Array  # Q [T, H]


class Frozen(NamedTuple):
  """Values that 'sgd' reads beside the vectors: penalties are of one rating."""

  level: base.Array
  user: base.Array  # [U]
  item: base.Array  # [T]


@functools.cache
def model(
  sizes: base.Sizes, *, factors: int = 64, batch: int = 1024, solver: str = 'adam'
) -> base.Model:
  """PMF on the target domain.

  Args:
    sizes: of the pair.
    factors: length of a user's or an item's vector, H.
    batch: ratings a step, B.
    solver: 'adam', or 'sgd' for steps on the rows of a batch.
  """
  if solver not in SOLVERS:
    raise ValueError(f'solver is {solver!r}{wording.instead(solver, SOLVERS)}')

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
    level = state.frozen.level if solver == 'sgd' else state.frozen
    return lambda users, items: rate(state.params, level, users[:, None], items)

  def init_frozen(key, data, hyper, previous):
    params, level = init(key, data, hyper, previous)
    strengths = (
      hyper.penalty * jnp.maximum(rows.length, 1) ** (hyper.power - 1)
      for rows in data.target
    )
    return params, Frozen(level, *strengths)

  if solver == 'sgd':
    stage = stages.rating_stage(
      init_frozen,
      lambda events: Params(events.row, events.column),
      _loss_of_ratings,
      batch,
      predict=predict,
      name='pmf',
    )
  else:
    stage = stages.gradient_stage(init, loss, epoch, predict=predict, name='pmf')
  return base.Model((stage,), stage.predict, trained, target_only=True)


def _loss_of_ratings(rows, frozen, events, hyper):
  """N J / 2 of some ratings, `rows` their vectors, and the sum of squared errors."""
  del hyper
  rated = frozen.level + jnp.sum(rows.user * rows.item, axis=-1)
  squares = jnp.sum(events.weight * (rated - events.value) ** 2)
  penalty = sum(
    losses.ridge(vectors, (events.weight * strength)[:, None])
    for vectors, strength in (
      (rows.user, frozen.user[events.row]),
      (rows.item, frozen.item[events.column]),
    )
  )
  return (squares + penalty) / 2, squares


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
