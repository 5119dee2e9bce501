"""Mult-VAE against the equations of the paper, in dense numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import base, nets
from xdomain.models import mult_vae
from xdomain.ops import sparse
from xdomain.training import loop

SHAPE = dict(hidden=(7,), latent=3)
STILL = mult_vae.Hyper(dropout=0.0, anneal=0.0)


def fresh(small, hyper=STILL, batch=64):
  """A stage, its first state, and a batch of all users."""
  (stage,) = mult_vae.model(small.sizes, batch=batch, **SHAPE).stages
  state = helpers.jitted(stage.init)(jax.random.key(1), small.data, hyper, ())
  return stage, state, jnp.arange(small.sizes.users)


def affine(layer, x):
  return x @ layer['kernel'] + layer['bias']


def encoded(encoder, x):
  """Means and log variances of dense rows."""
  norm = np.sqrt(np.maximum(x.sum(axis=1, keepdims=True), 1))
  h = np.tanh(x / norm @ encoder['bag']['table'] + encoder['bag']['bias'])
  return affine(encoder['mean'], h), affine(encoder['logvar'], h)


def decoded(decoder, z):
  h, output = np.tanh(affine(decoder['hidden_0'], z)), decoder['output']
  return h @ output['table'].T + output['bias']


@pytest.mark.parametrize(('padding', 'dense'), [(0, 0.0), (3, 2.0)])
def test_the_loss_is_that_of_the_paper(padding, dense, monkeypatch):
  monkeypatch.setattr(sparse, 'DENSE', dense)
  monkeypatch.setattr(nets, 'sample', lambda key, mean, logvar: mean)
  jax.clear_caches()
  small = helpers.implicit()
  stage, state, everybody = fresh(small)
  x = helpers.dense(small.split.train.target)
  visit = jnp.pad(everybody, (0, padding), constant_values=small.sizes.users)
  _, metrics = helpers.jitted(stage.step)(
    state, visit, small.data, jax.random.key(0), STILL
  )
  mean, logvar = encoded(state.params['encoder'], x)
  logit = decoded(state.params['decoder'], mean)
  chance = jax.nn.log_softmax(logit, axis=1)
  nll = -np.mean(np.sum(x * chance, axis=1))
  kl = 0.5 * np.mean(np.sum(mean**2 + np.exp(logvar) - 1 - logvar, axis=1))
  np.testing.assert_allclose(metrics['nll'], nll, rtol=1e-5)
  np.testing.assert_allclose(metrics['kl'], kl, rtol=1e-4)
  np.testing.assert_allclose(metrics['loss'], nll + STILL.kl * kl, rtol=1e-5)
  assert metrics['ratings'] == x.sum()


@pytest.mark.matrix
def test_the_weight_of_the_divergence_rises_and_stays():
  small = helpers.implicit()
  hyper = mult_vae.Hyper(kl=0.2, anneal=2.0)
  stage, state, _ = fresh(small, hyper, batch=30)  # Two steps an epoch.
  visit, weights = helpers.jitted(stage.epoch)(jax.random.key(0), small.data)[0], []
  step = jax.jit(
    lambda state, key: helpers.jitted(stage.step)(state, visit, small.data, key, hyper)[
      0
    ]
  )
  for k in range(6):
    state = step(state, jax.random.key(k))
    weights.append(float(state.frozen))
  np.testing.assert_allclose(weights, [0.05, 0.1, 0.15, 0.2, 0.2, 0.2])


def test_dropout_keeps_the_mean_and_its_rate():
  kept = mult_vae.dropout(jax.random.key(0), jnp.float32(0.3), (100_000,))
  np.testing.assert_allclose(np.mean(kept), 1, atol=0.01)
  np.testing.assert_allclose(np.mean(kept == 0), 0.3, atol=0.01)
  assert np.all(mult_vae.dropout(jax.random.key(0), 0.0, (9,)) == 1)


def test_scores_are_those_of_posterior_means():
  small = helpers.implicit()
  _, state, everybody = fresh(small)
  model = mult_vae.model(small.sizes, batch=64, **SHAPE)
  x = helpers.dense(small.split.train.target)
  mean, _ = encoded(state.params['encoder'], x)
  np.testing.assert_allclose(
    helpers.scorer(model.predict_all)(state, small.data)(everybody),
    decoded(state.params['decoder'], mean),
    atol=1e-5,
  )


def test_there_are_as_many_parameters_as_in_the_paper():
  # I -> 600 -> 200 -> 600 -> I, with two heads, on I = 20,108 items (ML-20M).
  model = mult_vae.model(base.Sizes(3, 1, 20_108))
  state = jax.eval_shape(
    lambda key: helpers.jitted(model.stages[0].init)(key, None, STILL, ()),
    jax.random.key(0),
  )
  count = helpers.count(state.params)
  assert count == 2 * 20_108 * 600 + 600 + 2 * 600 * 200 + 400 + (
    200 * 600 + 600 + 20_108
  )


@pytest.mark.matrix
def test_the_planted_taste_is_found():
  small = helpers.implicit()
  model = mult_vae.model(small.sizes, batch=16, **SHAPE)
  end = loop.fit(
    model,
    jax.random.key(0),
    small.data,
    mult_vae.Hyper(lr=1e-2),
    epochs=20,
    valid=small.valid,
    measure=small.measure,
  )
  _, state, _ = fresh(small)
  score = helpers.scorer(model.predict)(state, small.data)
  untrained, _ = small.measure(score, small.data, small.valid.target)
  assert end.best_value < untrained - 0.05
