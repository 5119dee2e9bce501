"""Products in the precision of their numbers, in every compiled program."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import base, stages
from xdomain.evaluation import rankings, ratings
from xdomain.models import autorec
from xdomain.training import loop


class Hyper(NamedTuple):
  lr: float = 0.1


def noting():
  """A model, and under which precision each of its parts is traced."""
  under = {}

  def note(part):
    under[part] = jax.config.jax_default_matmul_precision

  def init(key, data, hyper, previous):
    del key, data, hyper, previous
    note('init')
    return jnp.ones(3), ()

  @jax.custom_vjp
  def total(params):
    return jnp.sum(params)

  def backward(rest, cotangent):
    del rest
    note('backward')
    return (cotangent * jnp.ones(3),)

  total.defvjp(lambda params: (total(params), ()), backward)

  def loss(params, frozen, visit, data, key, hyper):
    del frozen, visit, data, key, hyper
    note('loss')
    return total(params), {}

  def predict(state, data):
    del data

    def score(users, items):
      del users
      note('predict')
      return state.params[0] + 0.0 * items

    return score

  def inspect(state, data):
    del data
    note('inspect')
    return {'first': state.params[0]}

  def trained(data, users, items):
    del data, users
    note('trained')
    return jnp.ones(items.shape, bool)

  stage = stages.gradient_stage(
    init,
    loss,
    lambda key, data: jnp.zeros((2,)),
    predict=predict,
    inspect=inspect,
  )
  return base.Model((stage,), stage.predict, trained), under


def fit(model, small):
  def measure(score, data, queries):
    del data
    return jnp.sum(score(queries.user, queries.item)), ()

  return loop.fit(
    model,
    jax.random.key(0),
    small.data,
    Hyper(),
    epochs=1,
    valid=small.valid,
    measure=measure,
  )


@pytest.mark.parametrize('told', [None, 'tensorfloat32'])
def test_everything_is_in_full_precision_unless_told_otherwise(told):
  model, under = noting()
  small = helpers.small()
  known = small.data.target.by_user
  ranked = helpers.implicit().test.target
  with jax.default_matmul_precision(told):
    best = fit(model, small).best_of()
    assert under.keys() == {'init', 'loss', 'backward', 'inspect', 'predict'}
    asked = [
      lambda: ratings.predict_ratings(
        model, best, small.data, small.test.target, (1, 5)
      ),
      lambda: rankings.ranks(model, best, small.data, ranked, known),
      lambda: rankings.best(
        model, best, small.data, known, np.array([0]), 2, small.data
      ),
    ]
    for ask in asked:
      under.pop('predict')
      ask()
  assert under.keys() >= {'predict', 'trained'}
  assert set(under.values()) == {told or 'highest'}


def test_a_product_is_not_rounded():
  """As it is lowered for a GPU, which rounds by default."""
  small = helpers.small()
  (stage,) = autorec.model(small.sizes, embed=4, batch=8).stages
  key, hyper = jax.random.key(0), autorec.Hyper()
  state = jax.eval_shape(stage.init, key, small.data, hyper, ())
  traced = loop.epoch.trace(stage, state, key, small.data, hyper)
  text = traced.lower(lowering_platforms=('cuda',)).as_text()
  products = [line for line in text.splitlines() if 'dot_general' in line]
  assert products
  assert all('[HIGHEST, HIGHEST]' in line for line in products)
