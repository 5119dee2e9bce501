"""The dual closed forms against dense NumPy forms over items, or of the paper."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain.data import device, views
from xdomain.models import edlae, kernel_als, low_rank_ridge, ntk_ridge
from xdomain.training import loop


@functools.cache
def pair_with_cold_users():
  """A pair in which the first 12 users have no target interactions."""
  pair = helpers.implicit().split.train
  return pair._replace(target=views.take(pair.target, pair.target.user >= 12))


def fit(module, pair, hyper, **settings):
  """All scores `[U, T]` and the metrics of the one epoch."""
  model, data = module.model(device.sizes(pair), **settings), device.put(pair)
  metrics = []
  end = loop.fit(
    model,
    jax.random.key(0),
    data,
    hyper,
    epochs=1,
    watch=lambda report, at: report and metrics.append(report.metrics),
  ).best_of()
  score = model.predict_all(jax.tree.map(jnp.asarray, end), data)
  return score(jnp.arange(pair.target.n_users)), metrics[0]


@pytest.mark.matrix
@pytest.mark.parametrize('source_weight', [1.0, 0.4])
@pytest.mark.parametrize('dropout', [0.0, 0.5])
def test_edlae_over_users_equals_the_inverse_over_items(source_weight, dropout):
  pair, penalty = helpers.implicit().split.train, 7.0
  hyper = edlae.Hyper(penalty, source_weight, dropout)
  scores, metrics = fit(edlae, pair, hyper)
  source, target = helpers.dense(pair.source), helpers.dense(pair.target)
  x = np.hstack([source, target])
  ridge = penalty + dropout / (1 - dropout) * x.sum(0)
  ridge[: source.shape[1]] /= source_weight**2
  inverse = np.linalg.inv(x.T @ x + np.diag(ridge))
  weight = np.eye(len(ridge)) - inverse / np.diag(inverse)
  expected = (x @ weight)[:, source.shape[1] :]
  chex.assert_trees_all_close(np.asarray(scores), expected, atol=2e-4)
  loss = (1 / np.diag(inverse) - ridge)[source.shape[1] :].mean() / len(x)
  np.testing.assert_allclose(metrics['loss'], loss, rtol=1e-4)


@pytest.mark.matrix
def test_edlae_of_source_weight_0_is_ease_of_the_target_alone():
  pair = helpers.implicit().split.train
  scores, _ = fit(edlae, pair, edlae.Hyper(7.0, 0.0, 0.0))
  x = helpers.dense(pair.target)
  inverse = np.linalg.inv(x.T @ x + 7.0 * np.eye(x.shape[1]))
  weight = np.eye(x.shape[1]) - inverse / np.diag(inverse)
  chex.assert_trees_all_close(np.asarray(scores), x @ weight, atol=2e-4)


def tangent_kernel(left, right):
  """The kernel as the authors of inf-AE compute it, in float64."""

  def c(product):
    return 2 * product / left.shape[1] + 0.01

  product = c(left @ right.T)
  norm = np.sqrt(np.outer(c((left**2).sum(1)), c((right**2).sum(1))))
  angle = np.arccos(np.clip(product / norm, -1, 1))
  process = 2 * norm * (np.sin(angle) + (np.pi - angle) * np.cos(angle))
  process = process / (2 * np.pi) + 0.01
  return 2 * product * (np.pi - angle) / (2 * np.pi) + process


@pytest.mark.matrix
@pytest.mark.parametrize('target_weight', [1.0, 0.0])
def test_ntk_ridge_is_the_regression_on_users_with_a_target(target_weight):
  pair = pair_with_cold_users()
  hyper = ntk_ridge.Hyper(0.7, 0.5, target_weight)
  scores, metrics = fit(ntk_ridge, pair, hyper)
  x = np.hstack(
    [0.5 * helpers.dense(pair.source), target_weight * helpers.dense(pair.target)]
  )
  known, target = x[12:], helpers.dense(pair.target)[12:]
  kernel = tangent_kernel(known, known)
  level = 0.7 * np.trace(kernel) / len(known)
  coefficients = np.linalg.solve(kernel + level * np.eye(len(known)), target)
  expected = tangent_kernel(x, known) @ coefficients
  chex.assert_trees_all_close(np.asarray(scores), expected, atol=1e-4)
  error = ((target - kernel @ coefficients) ** 2).sum()
  objective = error + level * np.sum(coefficients * (kernel @ coefficients))
  np.testing.assert_allclose(metrics['loss'], objective / target.size, rtol=1e-3)


@pytest.mark.parametrize('rank', [3, 1000])
def test_low_rank_ridge_keeps_the_leading_directions_of_the_fit(rank):
  pair = pair_with_cold_users()
  scores, _ = fit(low_rank_ridge, pair, low_rank_ridge.Hyper(5.0), rank=rank)
  everybody = helpers.dense(pair.source)
  source, target = everybody[12:], helpers.dense(pair.target)[12:]
  gram = source.T @ source + 5.0 * np.eye(source.shape[1])
  weight = np.linalg.solve(gram, source.T @ target)
  directions = np.linalg.svd(source @ weight)[2][:rank].T
  expected = everybody @ weight @ directions @ directions.T
  chex.assert_trees_all_close(np.asarray(scores), expected, atol=2e-3)


# --- Kernel-ALS -------------------------------------------------------------


def standardised(scores):
  return (scores - scores.mean(1, keepdims=True)) / scores.std(1, keepdims=True)


def alternating(start, source, target, hyper, sweeps):
  """Target scores of ALS with dense matrices, in float64."""
  wanted = np.hstack([target, hyper.source_weight * source])
  positive = np.hstack([target, source])
  confidence = 1 + hyper.alpha * positive
  domain = np.repeat([1.0, hyper.source_weight], [target.shape[1], source.shape[1]])

  def solve(table, confidence, wanted, count):
    penalty = hyper.factor_penalty * np.maximum(count, 1) ** hyper.frequency
    return np.stack(
      [
        np.linalg.solve(
          (table.T * c) @ table + ridge * np.eye(table.shape[1]), (table.T * c) @ want
        )
        for c, want, ridge in zip(confidence, wanted, penalty)
      ]
    )

  item = np.asarray(start, np.float64)
  for _ in range(sweeps):
    user = solve(item, confidence, wanted, positive @ domain)
    item = solve(user, confidence.T, wanted.T, positive.sum(0))
  return solve(item, confidence, wanted, positive @ domain) @ item[: target.shape[1]].T


@pytest.mark.matrix
@pytest.mark.parametrize('source_weight', [0.6, 0.0])
def test_kernel_als_blends_its_parts_and_switches_by_history(source_weight):
  pair, sweeps = pair_with_cold_users(), 3
  hyper = kernel_als.Hyper(source_weight, 0.7, 2.0, 4.0, 3.0, 0.5, 5.0, 0.4, 0.2)
  settings = dict(factors=5, sweeps=sweeps, rank=3)
  scores, _ = fit(kernel_als, pair, hyper, **settings)
  of_kernel, _ = fit(ntk_ridge, pair, ntk_ridge.Hyper(0.7, source_weight, 1.0))
  cold, _ = fit(ntk_ridge, pair, ntk_ridge.Hyper(2.0, 1.0, 0.0))
  low_rank, _ = fit(low_rank_ridge, pair, low_rank_ridge.Hyper(5.0), rank=3)
  source, target = helpers.dense(pair.source), helpers.dense(pair.target)
  model, data = kernel_als.model(device.sizes(pair), **settings), device.put(pair)
  begun = loop.begin(model, jax.random.key(0), data, hyper, ())
  factors = alternating(begun.state.item[0], source, target, hyper, sweeps)
  known = target.sum(1, keepdims=True) > 0
  popular = standardised(np.log1p(target.sum(0))[None])
  expected = (
    0.6 * standardised(np.where(known, of_kernel, cold))
    + 0.4 * standardised(np.where(known, factors, low_rank))
    + 0.2 * popular
  )
  chex.assert_trees_all_close(np.asarray(scores), expected, atol=5e-3)


@pytest.mark.matrix
def test_kernel_als_of_source_weight_0_does_not_read_the_source_of_warm_users():
  pair = pair_with_cold_users()
  nothing = pair._replace(source=views.take(pair.source, pair.source.user < 0))
  hyper = kernel_als.Hyper(source_weight=0.0)
  settings = dict(factors=5, sweeps=3, rank=3)
  scores, without = (
    fit(kernel_als, each, hyper, **settings)[0][12:] for each in (pair, nothing)
  )
  chex.assert_trees_all_close(scores, without, atol=1e-3)
