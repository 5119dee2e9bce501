"""The Gibbs sampler against coordinates of a dense machine, one by one."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain.models import fm_cdcf_mcmc
from xdomain.models.fm_cdcf import Features, Params
from xdomain.training import loop

ALPHA, LAMBDA, MU = 1.7, 0.6, 0.2
CENTRE = 0.7


def dense(small):
  """Features `[E, U + T + S]` and values of the training ratings."""
  ratings = small.data.target.by_user
  x = helpers.fm_features(small, CENTRE)[ratings.row, ratings.column]
  return x, np.asarray(ratings.value, np.float64)


def rated(params, x):
  """The definition of a factorisation machine."""
  w, v = (np.concatenate(p).astype(np.float64) for p in params[1:])
  crossed = np.triu(v @ v.T, 1)
  return params.level + x @ w + np.einsum('ea,ab,eb->e', x, crossed, x)


def start(small, factors=2):
  sizes = small.sizes
  tables = [
    jnp.asarray(helpers.wave((n, factors), seed), jnp.float32)
    for seed, n in enumerate((sizes.users, sizes.target, sizes.source))
  ]
  weight = jax.tree.map(lambda table: table[:, 0] - 0.1, Features(*tables))
  return Params(jnp.float32(3.0), weight, Features(*tables))


def one_by_one(values, derivative, error):
  """Means of the conditional distributions, each given those before."""
  values, error = np.array(values, np.float64), np.array(error, np.float64)
  for k in range(values.size):
    h = derivative(values, k)
    mean = ALPHA * (values[k] * h @ h - h @ error) + MU * LAMBDA
    mean /= LAMBDA + ALPHA * h @ h
    error += h * (mean - values[k])
    values[k] = mean
  return values, error


def in_turn(data, x, y):
  """The ratings as the sampler takes them; `x` and `y` in their order."""
  rows = data.target.by_user
  number = dataclasses.replace(rows, value=jnp.arange(rows.n_entries))
  order = fm_cdcf_mcmc.in_turn(number).value
  return fm_cdcf_mcmc.in_turn(rows), x[order], y[order]


def errors(params, data, ratings, centre):
  form = helpers.jitted(fm_cdcf_mcmc.errors)
  return form(params, data.source.by_user, ratings, centre)


def test_every_rating_is_taken_once_and_neighbours_are_of_different_users():
  rows = helpers.small().data.target.by_user
  ratings = fm_cdcf_mcmc.in_turn(rows)
  taken = np.stack([ratings.user, ratings.item, ratings.value], axis=1)
  given = np.stack([rows.row, rows.column, rows.value], axis=1)
  np.testing.assert_array_equal(taken[np.lexsort(taken.T)], given[np.lexsort(given.T)])
  assert np.mean(ratings.user[1:] == ratings.user[:-1]) < 0.1


def without_noise(params):
  """Priors and draws of a sweep that ends at the conditional means."""
  prior = fm_cdcf_mcmc.Prior(jnp.float32(LAMBDA), jnp.float32(MU))
  noise = jax.tree.map(lambda w: jnp.zeros_like(w), params.weight)
  return Features(prior, prior, prior), noise


@pytest.mark.matrix
@pytest.mark.parametrize('chunk', [7, 128])
def test_weights_are_drawn_around_their_conditional_means(chunk, monkeypatch):
  monkeypatch.setattr(fm_cdcf_mcmc, 'CHUNK', chunk)
  small = helpers.small()
  params, (x, y) = start(small), dense(small)
  ratings, x, y = in_turn(small.data, x, y)
  error, _ = errors(params, small.data, ratings, CENTRE)
  weight, after = fm_cdcf_mcmc.linear_sweep(
    *without_noise(params),
    params.weight,
    error,
    ALPHA,
    ratings,
    fm_cdcf_mcmc.source_by_item(small.data, CENTRE),
  )
  expected, left = one_by_one(
    np.concatenate(params.weight), lambda w, k: x[:, k], rated(params, x) - y
  )
  np.testing.assert_allclose(np.concatenate(weight), expected, atol=2e-4)
  np.testing.assert_allclose(after, left, atol=2e-3)


@pytest.mark.parametrize('chunk', [7, 128])
def test_a_factor_is_drawn_around_its_conditional_means(chunk, monkeypatch):
  monkeypatch.setattr(fm_cdcf_mcmc, 'CHUNK', chunk)
  small = helpers.small()
  params, (x, y) = start(small), dense(small)
  ratings, x, y = in_turn(small.data, x, y)
  error, totals = errors(params, small.data, ratings, CENTRE)
  factor, after = fm_cdcf_mcmc.factor_sweep(
    *without_noise(params),
    Features(*(f[:, 1] for f in params.factor)),
    totals[:, 1],
    error,
    ALPHA,
    ratings,
    fm_cdcf_mcmc.source_by_item(small.data, CENTRE),
  )
  expected, left = one_by_one(
    np.concatenate(params.factor)[:, 1],
    lambda v, k: x[:, k] * (x @ v - x[:, k] * v[k]),
    rated(params, x) - y,
  )
  np.testing.assert_allclose(np.concatenate(factor), expected, atol=1e-3)
  np.testing.assert_allclose(after, left, atol=5e-3)


def test_one_coordinate_is_that_of_another_implementation():
  _, data, _ = helpers.golden_arrays()
  params = helpers.fm_golden_params()
  ratings = fm_cdcf_mcmc.in_turn(data.target.by_user)
  error, totals = errors(params, data, ratings, 0.0)
  v, u = params.factor.target[ratings.item, 0], ratings.user
  facts = [params.factor.user[:, 0] + totals[:, 0]] + [
    jax.ops.segment_sum(value, u, ratings.count.size)
    for value in (v**2, v, jnp.ones_like(v), error, v * error)
  ]
  prior = fm_cdcf_mcmc.Prior(jnp.float32(0.1), jnp.float32(0.0))
  source = fm_cdcf_mcmc.source_by_item(data, 0.0)
  only = source._replace(start=source.start[1:3])
  (value,), _ = fm_cdcf_mcmc.source_sweep(
    prior,
    jnp.zeros(1),
    params.factor.source[1:2, 0],
    jnp.stack(facts, 1),
    1.0,
    only,
    crossed=1.0,
  )
  expected = helpers.golden('golden_rating')['FM-CDCF']
  name = 'als_update(source item 1, factor 0)'
  np.testing.assert_allclose(value, expected[name], rtol=1e-4)


@pytest.mark.matrix
def test_the_errors_of_a_sweep_are_those_of_what_it_drew():
  small = helpers.small()
  params, sse = helpers.jitted(fm_cdcf_mcmc.sweep)(
    jax.random.key(0), start(small), small.data, CENTRE
  )
  x, y = dense(small)
  np.testing.assert_allclose(sse, np.sum((rated(params, x) - y) ** 2), rtol=1e-4)


@pytest.mark.matrix
def test_priors_are_drawn_from_their_posterior():
  values = 3 + 0.5 * jax.random.normal(jax.random.key(0), (2000,))
  precision, mean = jax.vmap(lambda key: fm_cdcf_mcmc.draw_prior(key, values))(
    jax.random.split(jax.random.key(1), 4000)
  )
  n, total, squares = 2000, np.sum(values), np.sum(np.square(values))
  rate = (1 + squares - total**2 / (n + 1)) / 2
  np.testing.assert_allclose(np.mean(precision), (1 + n) / 2 / rate, rtol=5e-3)
  np.testing.assert_allclose(np.std(precision), np.sqrt((1 + n) / 2) / rate, rtol=0.1)
  np.testing.assert_allclose(np.mean(mean), total / (n + 1), rtol=1e-3)
  np.testing.assert_allclose(
    np.std(mean), np.sqrt(np.mean(1 / precision) / (n + 1)), rtol=0.1
  )


@pytest.mark.matrix
def test_the_prediction_is_the_mean_of_the_last_samples():
  small = helpers.small()
  model = fm_cdcf_mcmc.model(small.sizes, factors=2, samples=3)
  (stage,) = model.stages
  hyper = fm_cdcf_mcmc.Hyper(centre=CENTRE)
  chain = helpers.jitted(stage.init)(jax.random.key(0), small.data, hyper, ())
  x, _ = dense(small)
  rows = small.data.target.by_user
  made = []
  step = helpers.jitted(stage.step)
  for key in jax.random.split(jax.random.key(1), 5):
    chain, _ = step(chain, (), small.data, key, hyper)
    made.append(rated(jax.device_get(chain.params), x))
    score = helpers.scorer(model.predict)(chain, small.data)(
      rows.row, rows.column[:, None]
    )
    np.testing.assert_allclose(score[:, 0], np.mean(made[-3:], axis=0), atol=2e-3)


@pytest.mark.matrix
def test_the_mean_of_samples_predicts_better_than_one():
  small = helpers.small(users=200, target_ratings=3000, noise=0.5)

  def best(samples):
    return loop.fit(
      fm_cdcf_mcmc.model(small.sizes, factors=4, samples=samples),
      jax.random.key(0),
      small.data,
      fm_cdcf_mcmc.Hyper(),
      epochs=60,
      every=20,
      valid=small.valid,
      measure=small.measure,
    ).best_value

  assert best(30) < best(1)
