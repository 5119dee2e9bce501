"""Implicit ALS against the equations of the paper, in dense numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain.data import device, views
from xdomain.models import ials
from xdomain.training import loop

HYPER = ials.Hyper(alpha=4.0, penalty=2.0, frequency=0.5)


def solutions(x, table, hyper):
  """Eq. 4: of each row of `x`, with all of its cells in the sums."""
  count = np.maximum(x.sum(axis=1), 1)
  vectors = []
  for row, positives in zip(x, count):
    sure = np.diag(1 + hyper.alpha * row)
    ridge = hyper.penalty * positives**hyper.frequency * np.eye(table.shape[1])
    vectors.append(
      np.linalg.solve(table.T @ sure @ table + ridge, table.T @ sure @ row)
    )
  return np.array(vectors)


def objective(x, user, item, hyper):
  """Eq. 3, cell by cell."""
  value = np.sum((1 + hyper.alpha * x) * (x - user @ item.T) ** 2)
  for count, vectors in ((x.sum(axis=1), user), (x.sum(axis=0), item)):
    weight = np.maximum(count, 1) ** hyper.frequency
    value += hyper.penalty * weight @ np.sum(vectors**2, axis=1)
  return value


@pytest.mark.matrix
@pytest.mark.parametrize('frequency', [0.0, 0.5])
def test_a_sweep_solves_users_and_then_items(frequency):
  small, hyper = helpers.implicit(), HYPER._replace(frequency=frequency)
  x = helpers.dense(small.split.train.target)
  (stage,) = ials.model(small.sizes, factors=5).stages
  key = jax.random.key(0)
  start = helpers.jitted(stage.init)(key, small.data, hyper, ())
  visit = helpers.jitted(stage.epoch)(key, small.data)[0]
  end, metrics = helpers.jitted(stage.step)(start, visit, small.data, key, hyper)
  user = solutions(x, np.asarray(start.item, np.float64), hyper)
  item = solutions(x.T, user, hyper)
  np.testing.assert_allclose(end.user, user, atol=2e-4)
  np.testing.assert_allclose(end.item, item, atol=2e-4)
  expected = objective(x, user, item, hyper) / x.sum()
  np.testing.assert_allclose(metrics['loss'], expected, rtol=1e-4)


def test_the_loss_of_conjugate_gradients_is_the_objective():
  small = helpers.implicit()
  (stage,) = ials.model(small.sizes, factors=5, solver='cg').stages
  key = jax.random.key(0)
  start = helpers.jitted(stage.init)(key, small.data, HYPER, ())
  end, metrics = helpers.jitted(stage.step)(start, None, small.data, key, HYPER)
  x = helpers.dense(small.split.train.target)
  expected = objective(x, end.user, end.item, HYPER) / x.sum()
  np.testing.assert_allclose(metrics['loss'], expected, rtol=1e-4)


def test_the_objective_never_rises():
  small = helpers.implicit()
  losses = []
  loop.fit(
    ials.model(small.sizes, factors=5),
    jax.random.key(0),
    small.data,
    HYPER,
    epochs=6,
    watch=lambda report, at: report and losses.append(report.metrics['loss']),
  )
  assert np.all(np.diff(losses) < 1e-5 * losses[0])


@pytest.mark.matrix
def test_of_both_domains_the_source_speaks_for_new_people():
  pair = helpers.implicit().split.train
  known = views.take(pair.target, pair.target.user > 1)
  merged = views.joint(pair._replace(target=known))
  model, data = ials.model(device.sizes(merged), factors=5), device.put(merged)
  end = loop.fit(model, jax.random.key(0), data, HYPER, epochs=3).best_of()
  scores = helpers.scorer(model.predict_all)(end, data)(jnp.arange(2))
  assert np.max(np.abs(scores[0] - scores[1])) > 0.05


def test_who_has_nothing_has_no_vector():
  pair = helpers.implicit().split.train
  known = pair._replace(target=views.take(pair.target, pair.target.user > 0))
  model, data = ials.model(device.sizes(known), factors=5), device.put(known)
  end = loop.fit(model, jax.random.key(0), data, HYPER, epochs=1).best_of()
  np.testing.assert_array_equal(end.user[0], 0)
  assert np.all(np.any(end.user[1:] != 0, axis=1))


@pytest.mark.matrix
def test_conjugate_gradients_end_where_exact_solutions_do():
  small = helpers.implicit()
  ends = [
    loop.fit(
      ials.model(small.sizes, factors=5, solver=solver),
      jax.random.key(0),
      small.data,
      HYPER,
      epochs=20,
      valid=small.valid,
      measure=small.measure,
    )
    for solver in ('cholesky', 'cg')
  ]
  exact, near = (end.best_of() for end in ends)
  np.testing.assert_allclose(
    exact.user @ exact.item.T, near.user @ near.item.T, atol=0.02
  )
  np.testing.assert_allclose(ends[0].best_value, ends[1].best_value, atol=0.01)


def test_an_unknown_solver_is_an_error():
  with pytest.raises(ValueError, match="solver is 'cgs'"):
    ials.model(helpers.implicit().sizes, solver='cgs')
