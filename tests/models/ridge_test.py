"""The regression against dense numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import base
from xdomain.data import device, views
from xdomain.models import ridge
from xdomain.training import loop

PENALTY = 5.0


def fit(pair, build=ridge.model):
  model, data = build(device.sizes(pair)), device.put(pair)
  metrics = []
  end = loop.fit(
    model,
    jax.random.key(0),
    data,
    ridge.Hyper(PENALTY),
    epochs=1,
    watch=lambda report, at: report and metrics.append(report.metrics),
  ).best_of()
  users = jnp.arange(data.target.by_user.n_rows)
  return end, helpers.scorer(model.predict_all)(end, data)(users), metrics[0]


@pytest.mark.parametrize('new', [0, 20])
def test_weights_and_scores_are_those_of_the_people_who_are_known(new):
  pair = helpers.implicit().split.train
  known = views.take(pair.target, pair.target.user >= new)
  end, scores, metrics = fit(pair._replace(target=known))
  everybody = helpers.dense(pair.source)
  source, target = everybody[new:], helpers.dense(known)[new:]
  weight = np.linalg.solve(
    source.T @ source + PENALTY * np.eye(source.shape[1]), source.T @ target
  )
  np.testing.assert_allclose(end.weight, weight, atol=1e-4)
  np.testing.assert_allclose(scores, everybody @ weight, atol=1e-4)
  error = np.sum((target - source @ weight) ** 2)
  minimum = (error + PENALTY * np.sum(weight**2)) / target.size
  np.testing.assert_allclose(metrics['loss'], minimum, rtol=1e-4)


def test_a_score_ignores_the_target_of_who_asks():
  pair = helpers.implicit().split.train
  model, data = ridge.model(device.sizes(pair)), device.put(pair)
  end, scores, _ = fit(pair)
  blank = device.domain(
    pair.target._replace(
      user=pair.target.user[:0],
      item=pair.target.item[:0],
      value=pair.target.value[:0],
    )
  )
  users = jnp.arange(data.target.by_user.n_rows)
  np.testing.assert_array_equal(
    model.predict_all(end, data._replace(target=blank))(users), scores
  )


@pytest.mark.matrix
def test_over_users_the_scores_and_the_loss_are_the_same():
  pair = helpers.implicit().split.train
  known = views.take(pair.target, pair.target.user >= 20)
  pair = pair._replace(target=known)
  _, scores, metrics = fit(pair)
  end, dual_scores, dual_metrics = fit(pair, ridge.over_users)
  assert isinstance(end, ridge.Dual)
  np.testing.assert_allclose(dual_scores, scores, atol=1e-4)
  np.testing.assert_allclose(dual_metrics['loss'], metrics['loss'], rtol=1e-3)


def test_too_many_users_and_source_items_are_refused():
  with pytest.raises(ValueError, match='ridge inverts'):
    ridge.model(base.Sizes(20_001, 20_001, 5))
