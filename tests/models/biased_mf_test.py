"""Biased matrix factorisation and SVD++ against their textbook forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import stages
from xdomain.data import device, views
from xdomain.models import biased_mf
from xdomain.ops import sparse
from xdomain.training import loop

FEEDBACK = pytest.mark.parametrize('feedback', biased_mf.FEEDBACK)


def waves(sizes, feedback):
  """Parameters that are not random."""
  vectors = sizes.target, 3
  params = biased_mf.Params(
    user=jnp.asarray(helpers.wave((sizes.users, 3), 1)),
    item=jnp.asarray(helpers.wave(vectors, 2)),
    user_bias=jnp.asarray(helpers.wave((sizes.users,), 3)),
    item_bias=jnp.asarray(helpers.wave((sizes.target,), 4)),
  )
  if feedback == 'implicit':
    params = params._replace(rated=jnp.asarray(helpers.wave(vectors, 5)))
  return params


def rate_by_hand(params, level, rows, user, item):
  """One rating, as the equation has it."""
  rated = rows.column[rows.row == user]
  hidden = params.user[user]
  if params.rated is not None and rated.size:
    hidden = hidden + params.rated[rated].sum(axis=0) / rated.size**0.5
  bias = params.user_bias[user] + params.item_bias[item]
  return level + bias + hidden @ params.item[item]


def loss_by_hand(params, level, rows, hyper):
  """Ratings one by one; each pays for its user and its item."""
  total = 0.0
  for user, item, value in zip(rows.row, rows.column, rows.value):
    rated = rate_by_hand(params, level, rows, user, item)
    vectors = jnp.sum(params.user[user] ** 2) + jnp.sum(params.item[item] ** 2)
    if params.rated is not None:
      vectors += jnp.sum(params.rated[item] ** 2)
    biases = params.user_bias[user] ** 2 + params.item_bias[item] ** 2
    total += (rated - value) ** 2
    total += hyper.penalty * vectors + hyper.penalty_bias * biases
  return total / rows.value.size


def mse_and_slope_by_hand(params, level, data, hyper):
  """The loss without penalties, and the gradient of the loss with them."""
  rows, level = jax.device_get((data.target.by_user, level))

  def loss(params, hyper):
    return loss_by_hand(params, level, rows, hyper)

  unpenalised = biased_mf.Hyper(penalty=0.0, penalty_bias=0.0)
  return jax.jit(loss)(params, unpenalised), helpers.jitted(jax.grad(loss))(
    params, hyper
  )


@FEEDBACK
@pytest.mark.parametrize('dense', [0.0, 2.0])
def test_a_step_follows_the_gradient_of_the_loss_by_hand(feedback, dense, monkeypatch):
  monkeypatch.setattr(sparse, 'DENSE', dense)
  hyper = biased_mf.Hyper(penalty=0.3, penalty_bias=0.7)
  with jax.enable_x64(True):
    sizes, data, _ = helpers.golden_arrays()
    model = biased_mf.model(sizes, feedback=feedback, factors=3, batch=7)
    (stage,) = model.stages
    state = helpers.jitted(stage.init)(jax.random.key(0), data, hyper, ())
    params = waves(sizes, feedback)
    moments = jax.tree.map(np.zeros_like, params)
    moments = state.moments._replace(mu=moments, nu=moments)
    state = state._replace(params=params, moments=moments)
    (visit,) = helpers.jitted(stage.epoch)(jax.random.key(0), data)
    after, metrics = helpers.jitted(stage.step)(
      state, visit, data, jax.random.key(0), hyper
    )
    mse, expected = mse_and_slope_by_hand(params, state.frozen, data, hyper)
    # Adam's first moment is a tenth of the first gradient.
    gradients = jax.tree.map(lambda m: m / 0.1, jax.device_get(after.moments.mu))
  np.testing.assert_allclose(metrics['loss'], mse, rtol=1e-7)
  assert float(metrics['ratings']) == data.target.by_user.n_entries
  for ours, theirs in zip(
    jax.tree.leaves(gradients), jax.tree.leaves(expected), strict=True
  ):
    np.testing.assert_allclose(ours, theirs, atol=1e-7)


def test_a_step_of_sgd_follows_the_summed_loss_by_hand():
  hyper = biased_mf.Hyper(lr=0.1, penalty=0.3, penalty_bias=0.7)
  with jax.enable_x64(True):
    sizes, data, _ = helpers.golden_arrays()
    (stage,) = biased_mf.model(sizes, factors=3, batch=64, solver='sgd').stages
    state = helpers.jitted(stage.init)(jax.random.key(0), data, hyper, ())
    params = waves(sizes, 'explicit')
    (visit,) = helpers.jitted(stage.epoch)(jax.random.key(0), data)
    state = state._replace(params=params)
    after, metrics = helpers.jitted(stage.step)(
      state, visit, data, jax.random.key(0), hyper
    )
    mse, slope = mse_and_slope_by_hand(params, state.frozen, data, hyper)
    rate = 0.1 * data.target.by_user.n_entries / 2
    expected = jax.tree.map(lambda p, g: p - rate * g, *jax.device_get((params, slope)))
  np.testing.assert_allclose(metrics['loss'], mse, rtol=1e-6)
  for ours, theirs in zip(
    jax.tree.leaves(after.params), jax.tree.leaves(expected), strict=True
  ):
    np.testing.assert_allclose(ours, theirs, atol=1e-7)


def test_a_solver_that_does_not_fit_is_an_error():
  sizes = helpers.small().sizes
  with pytest.raises(ValueError, match="solver is 'sdg'; did you mean 'sgd'"):
    biased_mf.model(sizes, solver='sdg')
  with pytest.raises(ValueError, match='which is of explicit feedback'):
    biased_mf.model(sizes, feedback='implicit', solver='sgd')


@FEEDBACK
def test_scores_are_those_of_the_equation(feedback):
  sizes, data, _ = helpers.golden_arrays()
  model = biased_mf.model(sizes, feedback=feedback, factors=3, batch=2)
  params, rows = jax.device_get((waves(sizes, feedback), data.target.by_user))
  state = stages.GradientState(params, 3.5, ())
  items = jnp.tile(jnp.arange(sizes.target), (sizes.users, 1))
  scores = helpers.scorer(model.predict)(state, data)(jnp.arange(sizes.users), items)
  for (user, item), score in np.ndenumerate(scores):
    expected = rate_by_hand(params, 3.5, rows, user, item)
    np.testing.assert_allclose(score, expected, rtol=1e-5)


@FEEDBACK
def test_batches_of_users_add_up_to_all_ratings(feedback):
  small = helpers.small()
  whole, parts = (
    biased_mf.model(small.sizes, feedback=feedback, factors=3, batch=batch)
    for batch in (small.sizes.users, 13)
  )
  totals = []
  for model in (whole, parts):
    (stage,) = model.stages
    state = helpers.jitted(stage.init)(
      jax.random.key(0), small.data, biased_mf.Hyper(), ()
    )
    state = state._replace(params=waves(small.sizes, feedback))
    total = 0.0
    step = helpers.jitted(stage.step)
    for visit in helpers.jitted(stage.epoch)(jax.random.key(0), small.data):
      _, metrics = step(state, visit, small.data, jax.random.key(0), biased_mf.Hyper())
      total += metrics['mse'] * metrics['ratings']
    totals.append(total)
  np.testing.assert_allclose(*totals, rtol=1e-5)


@pytest.mark.matrix
@FEEDBACK
def test_who_is_not_known_is_rated_by_the_other_bias(feedback):
  small = helpers.small()
  target = small.split.train.target
  keep = (target.user != 3) & (target.item != 5)
  pair = small.split.train._replace(target=views.take(target, keep))
  data = device.put(pair)
  model = biased_mf.model(small.sizes, feedback=feedback, factors=4)
  end = loop.fit(model, jax.random.key(0), data, biased_mf.Hyper(), epochs=3)
  params, level = end.best_of().params, end.best_of().frozen
  users, items = jnp.array([3, 8, 3]), jnp.array([[7], [5], [5]])
  scores = model.predict(end.best_of(), data)(users, items)[:, 0]
  expected = level + jnp.array([params.item_bias[7], params.user_bias[8], 0.0])
  np.testing.assert_allclose(scores, expected, rtol=1e-6)
  assert np.all(model.trained(data, users[:, None], items))


@pytest.mark.matrix
def test_without_vectors_it_ends_at_the_bias_model():
  small = helpers.small()
  rows = small.data.target.by_user
  model = biased_mf.model(small.sizes, factors=1, batch=small.sizes.users)
  end = loop.fit(
    model,
    jax.random.key(0),
    small.data,
    biased_mf.Hyper(lr=0.02, penalty=100.0, penalty_bias=0.1),
    epochs=600,
  )
  params, level = end.best_of().params, end.best_of().frozen
  assert np.max(np.abs(params.user)) < 1e-3
  # The ridge regression of one-hot users and items, each with its ratings.
  n, users = rows.n_entries, small.sizes.users
  design = np.zeros((n, users + small.sizes.target))
  design[np.arange(n), rows.row] = 1
  design[np.arange(n), users + np.asarray(rows.column)] = 1
  gram = design.T @ design
  expected = np.linalg.lstsq(
    gram + 0.1 * np.diag(np.diag(gram)),
    design.T @ (np.asarray(rows.value) - float(level)),
    rcond=None,
  )[0]
  ours = np.concatenate([params.user_bias, params.item_bias])
  np.testing.assert_allclose(ours, expected, atol=1e-3)


@pytest.mark.matrix
@FEEDBACK
def test_an_epoch_costs_ratings_and_not_users_times_items(feedback):
  small = helpers.small(
    0,
    users=3000,
    source=50,
    target=4000,
    source_ratings=3000,
    target_ratings=6000,
  )
  model = biased_mf.model(small.sizes, feedback=feedback, factors=4, batch=1000)
  (stage,) = model.stages
  hyper = biased_mf.Hyper()
  state = helpers.jitted(stage.init)(jax.random.key(0), small.data, hyper, ())
  compiled = loop.epoch.lower(
    stage, state, jax.random.key(0), small.data, hyper
  ).compile()
  memory = compiled.memory_analysis().temp_size_in_bytes
  assert memory < 4 * 1000 * 4000 / 4


@pytest.mark.matrix
@FEEDBACK
def test_a_planted_taste_is_found(feedback):
  small, floor = helpers.planted()
  ours = loop.fit(
    biased_mf.model(small.sizes, feedback=feedback, factors=16, batch=32),
    jax.random.key(0),
    small.data,
    biased_mf.Hyper(lr=1e-2, penalty=0.05),
    epochs=30,
    valid=small.valid,
    measure=small.measure,
  )
  assert ours.best_value < 0.95 * floor


def test_an_unknown_feedback_is_answered_with_the_known_ones():
  with pytest.raises(ValueError, match="'implict'; did you mean 'implicit'"):
    biased_mf.model(helpers.small().sizes, feedback='implict')
