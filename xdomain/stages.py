"""Stages that several methods share."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from xdomain import base


class GradientState(NamedTuple):
  """The state of a gradient stage."""

  params: base.Tree
  frozen: base.Tree
  moments: base.Tree


def gradient_stage(
  init: Callable,
  loss: Callable,
  epoch: Callable,
  *,
  tx: optax.GradientTransformation | None = None,
  predict: Callable | None = None,
  domain: str = 'target',
  name: str = 'fit',
  inspect: Callable | None = None,
) -> base.Stage:
  """A stage that follows the gradient of a loss; its rate is `hyper.lr`.

  Args:
    init: `(key, data, hyper, previous) -> (params, frozen)`.
    loss: `(params, frozen, visit, data, key, hyper) -> (scalar, metrics)`.
    epoch: `(key, data) -> visits`, leaves `[N, ...]`.
    tx: an optax scaling without a rate; Adam's by default.
    predict: `(state, data) -> score`, of a `GradientState`.
    domain: the domain whose validation ratings select the epoch.
    name: what the stage is called in logs.
    inspect: `(state, data) -> scalars` to log after an epoch.
  """
  tx = optax.scale_by_adam() if tx is None else tx

  def start(key, data, hyper, previous):
    params, frozen = init(key, data, hyper, previous)
    return GradientState(params, frozen, tx.init(params))

  def step(state, visit, data, key, hyper):
    gradient = jax.value_and_grad(loss, has_aux=True)
    (value, metrics), gradients = gradient(
      state.params, state.frozen, visit, data, key, hyper
    )
    updates, moments = tx.update(gradients, state.moments, state.params)
    params = jax.tree.map(lambda p, u: p - hyper.lr * u, state.params, updates)
    return GradientState(params, state.frozen, moments), {'loss': value, **metrics}

  return base.Stage(
    start,
    epoch,
    step,
    predict,
    domain,
    name,
    inspect,
    keep=lambda state: state._replace(moments=()),
  )


def rating_stage(
  init: Callable,
  ids: Callable[[base.Events], base.Tree],
  loss: Callable,
  batch: int,
  *,
  predict: Callable,
  name: str,
) -> base.Stage:
  """A stage of plain gradient steps on the rows that a batch of ratings reads.

  A step costs in proportion to its ratings, whatever the size of the tables, so an
  epoch costs in proportion to all ratings. A step follows the summed gradient of its
  ratings, as if each were a step of its own; with batches of one rating that is the
  stochastic gradient descent of the papers on matrix factorisation.

  Args:
    init: `(key, data, hyper, previous) -> (params, frozen)`, params of tables.
    ids: the rows of each table that events read, a tree like params.
    loss: `(rows, frozen, events, hyper) -> (J, sum of squared errors)`, rows a tree
      like params, each leaf of `[B, ...]` rows.
    batch: ratings a step, B.
    predict: `(state, data) -> score`, of a `GradientState`.
    name: what the stage is called in logs.
  """

  def start(key, data, hyper, previous):
    return GradientState(*init(key, data, hyper, previous), moments=())

  def epoch(key, data):
    return data.target.by_user.shuffled(key, batch)

  def step(state, visit, data, key, hyper):
    del key
    events = data.target.by_user.events(visit)
    at = ids(events)
    rows = jax.tree.map(lambda table, row: table[row], state.params, at)
    gradient = jax.value_and_grad(loss, has_aux=True)
    (_, squares), gradients = gradient(rows, state.frozen, events, hyper)
    params = jax.tree.map(
      lambda table, row, g: table.at[row].add(-hyper.lr * g),
      state.params,
      at,
      gradients,
    )
    count = jnp.sum(events.weight)
    mse = squares / jnp.maximum(count, 1)
    return state._replace(params=params), {'loss': mse, 'ratings': count}

  return base.Stage(start, epoch, step, predict, name=name)
