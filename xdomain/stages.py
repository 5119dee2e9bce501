"""Stages that several methods share."""

from collections.abc import Callable
from typing import NamedTuple

import jax
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
