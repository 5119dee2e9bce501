"""EASE against the text of the paper, in dense numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import base
from xdomain.data import device, views
from xdomain.models import ease
from xdomain.training import loop

PENALTY = 20.0


def fit(pair, build=ease.model):
  model, data = build(device.sizes(pair)), device.put(pair)
  hyper = ease.Hyper(PENALTY)
  metrics = []
  end = loop.fit(
    model,
    jax.random.key(0),
    data,
    hyper,
    epochs=1,
    watch=lambda report, at: report and metrics.append(report.metrics),
  ).best_of()
  users = jnp.arange(data.target.by_user.n_rows)
  return end, helpers.scorer(model.predict_all)(end, data)(users), metrics[0]


def test_weights_and_scores_follow_the_paper():
  pair = helpers.implicit().split.train
  end, scores, metrics = fit(pair)
  x = helpers.dense(pair.target)
  shared = np.linalg.inv(x.T @ x + PENALTY * np.eye(x.shape[1]))
  weight = -shared / np.diag(shared)
  np.fill_diagonal(weight, 0)
  np.testing.assert_allclose(end.weight, weight, atol=1e-5)
  np.testing.assert_allclose(scores, x @ weight, atol=1e-5)
  minimum = np.sum((x - x @ weight) ** 2) + PENALTY * np.sum(weight**2)
  np.testing.assert_allclose(metrics['loss'], minimum / x.size, rtol=1e-4)


def test_no_item_predicts_itself():
  end, _, _ = fit(helpers.implicit().split.train)
  np.testing.assert_array_equal(np.diag(end.weight), 0)


@pytest.mark.matrix
def test_of_both_domains_the_source_speaks_for_new_people():
  pair = helpers.implicit().split.train
  known = views.take(pair.target, pair.target.user > 0)
  merged = views.joint(pair._replace(target=known))
  end, scores, _ = fit(merged)
  target = pair.target.n_items
  source = helpers.dense(pair.source)[0]
  np.testing.assert_allclose(
    scores[0, :target], source @ end.weight[target:, :target], atol=1e-5
  )
  assert np.std(scores[0, :target]) > 0.01


def test_over_users_the_scores_and_the_loss_are_the_same():
  pair = helpers.implicit().split.train
  _, scores, metrics = fit(pair)
  end, dual_scores, dual_metrics = fit(pair, ease.over_users)
  assert isinstance(end, ease.Dual)
  np.testing.assert_allclose(dual_scores, scores, atol=1e-4)
  np.testing.assert_allclose(dual_metrics['loss'], metrics['loss'], rtol=1e-3)


def test_too_many_users_and_items_are_refused():
  with pytest.raises(ValueError, match='88,536 items are too many'):
    ease.model(base.Sizes(35_025, 0, 88_536))
