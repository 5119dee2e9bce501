"""CMF against the golden numbers, and one solver against the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import base
from xdomain.data import device, views
from xdomain.models import cmf
from xdomain.ops import sparse
from xdomain.training import loop

HYPER = cmf.Hyper(lr=1.0, alpha=0.3, penalty=0.1, offset=0.0)
LEVELS = base.PerDomain(0.0, 0.0)
SIZES = base.Sizes(5, 3, 6)
RATINGS = 18  # Of both domains in the golden data.
SOLVERS = pytest.mark.parametrize('solver', cmf.SOLVERS)


def golden():
  return helpers.golden('golden_rating')['CMF']


def golden_params():
  """The parameters that the golden numbers were computed with."""
  shapes = ((5, 2), 81), ((3, 2), 82), ((6, 2), 83)
  return cmf.Params(
    *(jnp.asarray(helpers.wave(s, n, scale=0.9, shift=1.2)) for s, n in shapes)
  )


def published_loss(params, data):
  """Half the weighted sums and the penalty, cell by cell."""
  tables, domains = params[1:], (data.source, data.target)
  total = HYPER.penalty * sum(jnp.sum(x**2) for x in params)
  weights = HYPER.alpha, 1 - HYPER.alpha
  for weight, table, domain in zip(weights, tables, domains):
    rows = domain.by_user
    rated = jnp.sum(params.user[rows.row] * table[rows.column], axis=1)
    total += weight * jnp.sum((rated - rows.value) ** 2)
  return total / 2


@pytest.mark.parametrize('padding', [0, 3])
@pytest.mark.parametrize('dense', [0.0, 2.0])
def test_loss_and_every_gradient_are_those_of_another_implementation(
  padding, dense, monkeypatch
):
  monkeypatch.setattr(sparse, 'DENSE', dense)
  with jax.enable_x64(True):
    _, data, _ = helpers.golden_arrays()
    (stage,) = cmf.model(SIZES, factors=2, batch=5 + padding).stages
    state = helpers.jitted(stage.init)(jax.random.key(0), data, HYPER, ())
    params = golden_params()
    moments = jax.tree.map(np.zeros_like, params)
    moments = state.moments._replace(mu=moments, nu=moments)
    state = state._replace(params=params, moments=moments)
    visits = helpers.jitted(stage.epoch)(jax.random.key(0), data)
    visit = jax.tree.map(lambda ids: ids[0], visits)
    state, metrics = helpers.jitted(stage.step)(
      state, visit, data, jax.random.key(0), HYPER
    )
    penalty = HYPER.penalty * sum(jnp.sum(x**2) for x in params)
    loss = (RATINGS * metrics['loss'] + penalty) / 2
    # Adam's first moment is a tenth of the first gradient.
    gradients = jax.tree.map(
      lambda m: RATINGS / 2 * m / 0.1, jax.device_get(state.moments.mu)
    )
  np.testing.assert_allclose(loss, golden()['loss'], rtol=1e-7)
  for name, theirs in (('user', 'P'), ('source', 'QS'), ('target', 'QT')):
    np.testing.assert_allclose(
      getattr(gradients, name), golden()[f'grad/{theirs}'], atol=1e-7
    )


@pytest.mark.parametrize('dense', [0.0, 2.0])
def test_a_sweep_of_newton_steps_is_that_of_another_implementation(dense, monkeypatch):
  monkeypatch.setattr(sparse, 'DENSE', dense)
  with jax.enable_x64(True):
    _, data, _ = helpers.golden_arrays()
    params = golden_params()
    losses = [published_loss(params, data)]
    for block in ('user', 'source', 'target'):
      params = helpers.jitted(cmf.newton_step, static_argnums=0)(
        block, params, LEVELS, data, HYPER
      )
      losses.append(published_loss(params, data))
  np.testing.assert_allclose(params.user[0], golden()['newton_user0'])
  np.testing.assert_allclose(
    losses, golden()['loss_trace(start,users,source items,target items)']
  )
  for name, theirs in (('user', 'P'), ('target', 'QT')):
    np.testing.assert_allclose(
      getattr(params, name), golden()[f'after_sweep/{theirs}'], atol=1e-12
    )


def test_a_short_newton_step_goes_a_part_of_the_way():
  with jax.enable_x64(True):
    _, data, _ = helpers.golden_arrays()
    start = golden_params()
    full, part = (
      helpers.jitted(cmf.newton_step, static_argnums=0)(
        'user', start, LEVELS, data, HYPER._replace(lr=lr)
      )
      for lr in (1.0, 0.6)
    )
    expected = 0.4 * start.user + 0.6 * full.user
  np.testing.assert_allclose(part.user, expected, rtol=1e-9)


@pytest.mark.matrix
def test_an_epoch_of_als_is_a_sweep_around_the_means():
  with jax.enable_x64(True):
    _, data, _ = helpers.golden_arrays()
    (stage,) = cmf.model(SIZES, solver='als', factors=2).stages
    hyper = HYPER._replace(offset=1.0)
    state = helpers.jitted(stage.init)(jax.random.key(0), data, hyper, ())
    params = state.params
    assert state.frozen == (data.source.by_user.mean(), 31 / 9)
    for block in cmf.Params._fields:
      params = helpers.jitted(cmf.newton_step, static_argnums=0)(
        block, params, state.frozen, data, hyper
      )
    visits = helpers.jitted(stage.epoch)(jax.random.key(0), data)
    visit = jax.tree.map(lambda ids: ids[0], visits)
    state, metrics = helpers.jitted(stage.step)(
      state, visit, data, jax.random.key(0), hyper
    )
    rows = data.target.by_user
    score = helpers.scorer(stage.predict)(state, data)
    rated = score(rows.row, rows.column[:, None])[:, 0]
    mse = jnp.mean((rated - rows.value) ** 2)
  for ours, theirs in zip(state.params, params):
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
  np.testing.assert_allclose(metrics['mse'], mse, rtol=1e-7)


@pytest.mark.matrix
def test_both_solvers_end_at_a_point_where_the_gradient_is_zero():
  small = helpers.small()
  losses = []
  for solver, lr, epochs in (('als', 1.0, 200), ('adam', 1e-2, 400)):
    model = cmf.model(small.sizes, solver=solver, factors=1, batch=60)
    end = loop.fit(
      model,
      jax.random.key(0),
      small.data,
      cmf.Hyper(lr=lr, penalty=2.0, offset=1.0),
      epochs=epochs,
    )
    params, levels = end.best_of().params, end.best_of().frozen
    (stage,) = model.stages
    visits = helpers.jitted(stage.epoch)(jax.random.key(0), small.data)
    everyone = jax.tree.map(lambda ids: ids.reshape(-1), visits)
    value, _ = cmf.data_term(params, levels, everyone, small.data, cmf.Hyper())
    n = sum(d.by_user.n_entries for d in small.data[:2])
    losses.append(value + 2.0 / n * sum(jnp.sum(x**2) for x in params))
  np.testing.assert_allclose(*losses, rtol=1e-4)


def test_a_user_is_known_from_either_domain():
  _, data, queries = helpers.golden_arrays()
  known = cmf.trained(data, queries.user[:, None], queries.item)
  # The third asks for an item without ratings, the fourth of a user who has
  # rated in the source alone.
  np.testing.assert_array_equal(known[:, 0], [True, True, False, True, True])


@pytest.mark.matrix
@SOLVERS
def test_the_source_helps_who_has_few_target_ratings(solver):
  small = helpers.small(
    users=300,
    source=60,
    target=60,
    source_ratings=9000,
    target_ratings=1500,
    noise=0.2,
  )
  values = []
  for alpha in (0.5, 1e-6):
    lr = 1.0 if solver == 'als' else 1e-2
    hyper = cmf.Hyper(lr=lr, alpha=alpha, penalty=6.0 * (1 - alpha))
    end = loop.fit(
      cmf.model(small.sizes, solver=solver, factors=4),
      jax.random.key(0),
      small.data,
      hyper,
      epochs=30,
      valid=small.valid,
      measure=small.measure,
    )
    values.append(end.best_value.item())
  assert values[0] < 0.95 * values[1]


@pytest.mark.matrix
@SOLVERS
def test_the_loss_counts_ratings_and_not_users_times_items(solver):
  small = helpers.small(
    0,
    users=3000,
    source=50,
    target=4000,
    source_ratings=3000,
    target_ratings=6000,
  )
  (stage,) = cmf.model(small.sizes, solver=solver, factors=4).stages
  state = helpers.jitted(stage.init)(jax.random.key(0), small.data, cmf.Hyper(), ())
  compiled = loop.epoch.lower(
    stage, state, jax.random.key(0), small.data, cmf.Hyper()
  ).compile()
  memory = compiled.memory_analysis().temp_size_in_bytes
  assert memory < 4 * 3000 * 4000 / 16


def test_an_unknown_solver_is_answered_with_the_known_ones():
  with pytest.raises(ValueError, match="'asl'; did you mean 'als'"):
    cmf.model(SIZES, solver='asl')


@pytest.mark.matrix
@SOLVERS
def test_without_source_ratings_it_factorises_the_target(solver):
  small = helpers.small()
  lr = 1.0 if solver == 'als' else 1e-2
  alone = device.put(views.alone(small.split.train))
  end = loop.fit(
    cmf.model(small.sizes, solver=solver, factors=4),
    jax.random.key(0),
    alone,
    cmf.Hyper(lr=lr, penalty=2.0),
    epochs=30,
    valid=small.valid,
    measure=small.measure,
  )
  params = end.best_of().params
  spread = float(np.std(small.split.valid.target.value))
  assert end.best_value < 0.97 * spread
  assert np.max(np.abs(params.source)) < 0.5 * np.max(np.abs(params.target))
