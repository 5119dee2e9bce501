"""CMF of positives against the golden numbers, and in dense numpy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain.data import device, views
from xdomain.models import cmf_implicit
from xdomain.training import loop

GOLDEN = helpers.golden('golden_ranking')['cmf']
HYPER = cmf_implicit.Hyper(penalty=GOLDEN['lam'])


def golden_params():
  fill = helpers.fill
  return cmf_implicit.Params(fill(1, (3, 2)), fill(3, (5, 2)), fill(2, (4, 2)))


def dense_objective(params, pair, hyper):
  """J of `ranking.md` 5.3, cell by cell."""
  value = hyper.penalty / 2 * sum(np.sum(np.square(x)) for x in params)
  for domain in ('source', 'target'):
    x = helpers.dense(getattr(pair, domain))
    x_hat = params.user @ getattr(params, domain).T
    cells = (1 + hyper.pos_weight * x) * (x - x_hat) ** 2
    cells = cells[x.any(axis=1)]
    value += getattr(hyper, f'w_{domain}') * np.mean(cells)
  return value


def test_the_loss_and_its_gradient_are_those_of_another_implementation():
  with jax.enable_x64(True):
    data = helpers.golden_pair_arrays()
    value, gradients = helpers.jitted(jax.value_and_grad(cmf_implicit.objective))(
      golden_params(), data, HYPER
    )
  np.testing.assert_allclose(value, GOLDEN['loss'], rtol=1e-10)
  np.testing.assert_allclose(gradients.user, GOLDEN['grad_P'], rtol=1e-9)


def test_the_users_after_a_block_are_those_of_another_implementation():
  with jax.enable_x64(True):
    data = helpers.golden_pair_arrays()
    after = cmf_implicit.fit_block('user', golden_params(), data, HYPER)
  np.testing.assert_allclose(after, GOLDEN['P_after_als'], rtol=1e-9)


def somebody_is_new():
  """A pair whose first two people have nothing in the target."""
  pair = helpers.implicit().split.train
  return pair._replace(target=views.take(pair.target, pair.target.user > 1))


def some_params(pair):
  rng = np.random.default_rng(0)
  sizes = device.sizes(pair)
  return cmf_implicit.Params(*(jnp.asarray(rng.normal(size=(n, 4))) for n in sizes))


@pytest.mark.matrix
def test_each_block_is_where_the_dense_objective_is_flat():
  pair = somebody_is_new()
  fit = jax.jit(cmf_implicit.fit_block, static_argnums=0)
  slope = jax.jit(jax.value_and_grad(cmf_implicit.objective))
  with jax.enable_x64(True):
    data, params = helpers.put_double(pair), some_params(pair)
    for pos_weight in (0.0, 3.0):
      hyper = HYPER._replace(pos_weight=pos_weight)
      value, _ = slope(params, data, hyper)
      expected = dense_objective(params, pair, hyper)
      np.testing.assert_allclose(value, expected, rtol=1e-9)
      for block in params._fields:
        best = fit(block, params, data, hyper)
        assert not np.allclose(best, getattr(params, block), atol=1e-2)
        params = params._replace(**{block: best})
        _, gradient = slope(params, data, hyper)
        np.testing.assert_allclose(getattr(gradient, block), 0, atol=1e-9)


@pytest.mark.matrix
def test_systems_of_their_own_are_the_shared_ones_without_extra_weight():
  pair = somebody_is_new()
  with jax.enable_x64(True):
    data, params = helpers.put_double(pair), some_params(pair)
    shared, own = (
      cmf_implicit.fit_block(
        'user', params, data, HYPER._replace(pos_weight=pos_weight)
      )
      for pos_weight in (0.0, 1e-12)
    )
  np.testing.assert_allclose(shared, own, atol=1e-9)


def test_new_people_are_folded_in_by_their_source():
  pair = somebody_is_new()
  with jax.enable_x64(True):
    params = some_params(pair)
    user = cmf_implicit.fit_block('user', params, helpers.put_double(pair), HYPER)
  x, q = helpers.dense(pair.source), np.asarray(params.source)
  weight = HYPER.w_source / x.size
  left = weight * q.T @ q + HYPER.penalty / 2 * np.eye(4)
  expected = np.linalg.solve(left, weight * q.T @ x[:2].T).T
  np.testing.assert_allclose(user[:2], expected, rtol=1e-7)


@pytest.mark.matrix
def test_an_epoch_is_a_sweep_and_the_objective_never_rises():
  small = helpers.implicit()
  reports = []
  model = cmf_implicit.model(small.sizes, factors=4)
  end = loop.fit(
    model,
    jax.random.key(0),
    small.data,
    cmf_implicit.Hyper(),
    epochs=6,
    watch=lambda report, at: report and reports.append(report.metrics),
  ).best_of()
  losses = [metrics['loss'] for metrics in reports]
  assert np.all(np.diff(losses) < 1e-6 * losses[0])
  train_pair = small.split.train
  assert reports[0]['ratings'] == (
    train_pair.source.user.size + train_pair.target.user.size
  )
  users = jnp.arange(3)
  items = jnp.tile(jnp.arange(small.sizes.source), (3, 1))
  np.testing.assert_allclose(
    helpers.scorer(model.predict_source)(end, small.data)(users, items),
    end.user[:3] @ end.source.T,
    atol=1e-5,
  )


def test_a_domain_may_have_more_cells_than_an_integer_holds():
  data = helpers.implicit().data
  wide = dataclasses.replace(data.target.by_user, n_columns=2**30)
  data = data._replace(target=data.target._replace(by_user=wide))
  weight, there = cmf_implicit.cell_weight('target', data, cmf_implicit.Hyper())
  expected = cmf_implicit.Hyper().w_target / (int(there.sum()) * 2**30)
  assert float(weight) == pytest.approx(expected)
