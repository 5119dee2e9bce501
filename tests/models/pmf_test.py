"""PMF against the golden numbers, Surprise's steps, and a planted structure."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import base
from xdomain.data import device, types
from xdomain.models import pmf
from xdomain.training import loop

FORMS = pytest.mark.parametrize(
  ('power', 'form'), [(1.0, 'per_rating'), (0.0, 'per_entity')]
)


def golden_params():
  """The parameters that the golden numbers were computed with."""
  return pmf.Params(
    user=jnp.asarray(helpers.wave((5, 2), 51, scale=0.9, shift=1.2)),
    item=jnp.asarray(helpers.wave((6, 2), 52, scale=0.9, shift=1.2)),
  )


def one_step(params, data, power, batch=16):
  """Loss without penalty, and gradients, as published: half sums."""
  sizes = base.Sizes(5, 3, 6)
  (stage,) = pmf.model(sizes, factors=2, batch=batch).stages
  hyper = pmf.Hyper(penalty=0.02, power=power, offset=0.0)
  state = helpers.jitted(stage.init)(jax.random.key(0), data, hyper, ())
  moments = jax.tree.map(np.zeros_like, params)
  moments = state.moments._replace(mu=moments, nu=moments)
  state = state._replace(params=params, moments=moments)
  (visit,) = helpers.jitted(stage.epoch)(jax.random.key(0), data)
  state, metrics = helpers.jitted(stage.step)(
    state, visit, data, jax.random.key(0), hyper
  )
  half = data.target.by_user.n_entries / 2
  # Adam's first moment is a tenth of the first gradient.
  gradients = jax.tree.map(lambda m: half * m / 0.1, jax.device_get(state.moments.mu))
  return half * metrics['loss'], gradients


def published_penalty(params, data, power):
  """Half of lambda times the weighted sum of squares."""
  rows = data.target
  return 0.01 * sum(
    jnp.sum(r.length[:, None] ** power * table**2)
    for table, r in zip(params, (rows.by_user, rows.by_item))
  )


@FORMS
def test_loss_and_every_gradient_are_those_of_another_implementation(power, form):
  expected = helpers.golden('golden_rating')['PMF']
  with jax.enable_x64(True):
    _, data, _ = helpers.golden_arrays()
    params = golden_params()
    loss, gradients = one_step(params, data, power)
    loss = loss + published_penalty(params, data, power)
  np.testing.assert_allclose(loss, expected[f'loss_{form}_penalty'], rtol=1e-7)
  for name, theirs in (('user', 'P'), ('item', 'Q')):
    np.testing.assert_allclose(
      getattr(gradients, name), expected[f'grad_{form}/{theirs}'], atol=1e-7
    )


@pytest.mark.matrix
def test_steps_of_one_rating_are_those_of_surprise():
  golden = helpers.golden('golden_rating')
  users, source, target = golden['data']['U,IS,IT']
  with jax.enable_x64(True):
    params = golden_params()
    for event in golden['data']['target_train']:
      alone = types.Pair(
        helpers.ratings_of([], users, source),
        helpers.ratings_of([event], users, target),
      )
      _, gradients = one_step(params, device.put(alone), power=1.0)
      params = jax.tree.map(lambda p, g: p - 0.005 * g, params, gradients)
  expected = golden['PMF']
  for ours, theirs in zip(params, ('P', 'Q')):
    np.testing.assert_allclose(
      ours, expected[f'after_one_sgd_epoch/{theirs}'], atol=1e-7
    )


def test_sgd_of_one_rating_a_step_is_surprise():
  golden = helpers.golden('golden_rating')
  users, source, target = golden['data']['U,IS,IT']
  events = golden['data']['target_train']
  (stage,) = pmf.model(
    base.Sizes(users, source, target), factors=2, batch=1, solver='sgd'
  ).stages
  hyper = pmf.Hyper(lr=0.005, penalty=0.02, offset=0.0)
  data = device.put(
    types.Pair(
      helpers.ratings_of([], users, source), helpers.ratings_of(events, users, target)
    )
  )
  state = helpers.jitted(stage.init)(jax.random.key(0), data, hyper, ())
  state = state._replace(params=golden_params())
  rows = data.target.by_user
  step = helpers.jitted(stage.step)
  for user, item, _ in events:
    (at,) = np.flatnonzero((rows.row == user) & (rows.column == item))
    state, _ = step(state, jnp.array([at]), data, jax.random.key(0), hyper)
  for ours, theirs in zip(state.params, ('P', 'Q')):
    np.testing.assert_allclose(
      ours, golden['PMF'][f'after_one_sgd_epoch/{theirs}'], atol=1e-6
    )


@FORMS
def test_a_step_of_sgd_follows_the_published_sum(power, form):
  del form
  with jax.enable_x64(True):
    sizes, data, _ = helpers.golden_arrays()
    (stage,) = pmf.model(sizes, factors=2, batch=64, solver='sgd').stages
    hyper = pmf.Hyper(lr=0.5, penalty=0.02, power=power)
    state = helpers.jitted(stage.init)(jax.random.key(0), data, hyper, ())
    params = golden_params()
    loss, gradients = one_step(params, data, power)
    half = data.target.by_user.n_entries / 2
    (visit,) = helpers.jitted(stage.epoch)(jax.random.key(0), data)
    state = state._replace(params=params)
    after, metrics = helpers.jitted(stage.step)(
      state, visit, data, jax.random.key(0), hyper
    )
    expected = jax.tree.map(lambda p, g: p - 0.5 * g, params, gradients)
    np.testing.assert_allclose(half * metrics['loss'], loss, rtol=1e-6)
  sides = data.target
  for rows, ours, theirs in zip(sides, after.params, expected, strict=True):
    rated = np.flatnonzero(rows.length)  # The others keep their vectors.
    np.testing.assert_allclose(ours[rated], theirs[rated], atol=1e-7)


def test_an_unknown_solver_is_an_error():
  with pytest.raises(ValueError, match="solver is 'sdg'; did you mean 'sgd'"):
    pmf.model(base.Sizes(5, 3, 6), solver='sdg')


def test_a_batch_of_some_ratings_has_their_mean_loss():
  with jax.enable_x64(True):
    _, data, _ = helpers.golden_arrays()
    params = golden_params()
    hyper = pmf.Hyper(penalty=0.0, offset=1.0)
    (stage,) = pmf.model(base.Sizes(5, 3, 6), factors=2, batch=4).stages
    state = helpers.jitted(stage.init)(jax.random.key(0), data, hyper, ())
    state = state._replace(params=params)
    rows = data.target.by_user
    step = helpers.jitted(stage.step)
    for visit in helpers.jitted(stage.epoch)(jax.random.key(0), data):
      _, metrics = step(state, visit, data, jax.random.key(0), hyper)
      ids = visit[visit < rows.n_entries]
      rated = rows.mean() + jnp.sum(
        params.user[rows.row[ids]] * params.item[rows.column[ids]], axis=1
      )
      expected = jnp.mean((rated - rows.value[ids]) ** 2)
      np.testing.assert_allclose(metrics['loss'], expected, rtol=1e-6)
      assert metrics['ratings'] == ids.size == 3


def test_only_users_and_items_with_ratings_are_trained():
  _, data, queries = helpers.golden_arrays()
  known = pmf.trained(data, queries.user[:, None], queries.item)
  # The third asks for an item, the fourth of a user without ratings.
  np.testing.assert_array_equal(known[:, 0], [True, True, False, False, True])


@pytest.mark.matrix
def test_training_costs_ratings_and_not_users_times_items():
  small = helpers.small(
    0,
    users=3000,
    source=50,
    target=4000,
    source_ratings=3000,
    target_ratings=6000,
  )
  (stage,) = pmf.model(small.sizes, factors=4).stages
  hyper = pmf.Hyper()
  state = helpers.jitted(stage.init)(jax.random.key(0), small.data, hyper, ())
  compiled = loop.epoch.lower(
    stage, state, jax.random.key(0), small.data, hyper
  ).compile()
  memory = compiled.memory_analysis().temp_size_in_bytes
  assert memory < 4 * 3000 * 4000 / 16


@pytest.mark.matrix
@pytest.mark.parametrize(('power', 'penalty'), [(1.0, 0.1), (0.0, 2.0)])
def test_a_planted_taste_is_found(power, penalty):
  small, floor = helpers.planted()
  ours = loop.fit(
    pmf.model(small.sizes, factors=16, batch=256),
    jax.random.key(0),
    small.data,
    pmf.Hyper(lr=1e-2, penalty=penalty, power=power),
    epochs=30,
    valid=small.valid,
    measure=small.measure,
  )
  assert ours.best_value < 0.95 * floor


@pytest.mark.matrix
def test_ratings_one_by_one_are_trained_on_beside_empty_batches():
  small = helpers.small(users=30, source_ratings=300, target_ratings=350)
  model = pmf.model(small.sizes, factors=2, batch=1)
  end = loop.fit(
    model,
    jax.random.key(0),
    small.data,
    pmf.Hyper(),
    epochs=2,
    valid=small.valid,
    measure=small.measure,
  )
  assert end.best_epoch > 0 and np.isfinite(end.best_value)
