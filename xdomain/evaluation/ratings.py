"""Scores -> errors -> measures with intervals. All methods pass through here.

Predictions are clipped to the rating scale here and nowhere else. Where a model
has no training data of its own for an id (`Model.trained`), the prediction is
the mean of the training ratings, and the measures say how much of them is that.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xdomain import base, precision
from xdomain.evaluation import significance

BLOCK = 8192  # Queries scored at a time.
POWERS = {'rmse': 2, 'mae': 1}


class RatingError(NamedTuple):
  """Validation RMSE, clipped and with the fallback; a measure for `fit`."""

  scale: tuple[float, float]
  trained: Callable[..., base.Array] = base.everything_trained

  def __call__(self, score, data, queries):
    prediction, _ = rate(score, self.trained, self.scale, data, queries)
    squared = jnp.where(queries.mask, (prediction - queries.gain) ** 2, 0.0)
    return jnp.sqrt(jnp.sum(squared) / jnp.sum(queries.mask))


class Predictions(NamedTuple):
  """What a model said to `[Q]` rating queries, on the host."""

  user: np.ndarray
  truth: np.ndarray
  raw: np.ndarray  # clipped, without the fallback
  rating: np.ndarray  # clipped, with the fallback
  warm: np.ndarray  # bool: user and item both have training ratings


def predict_ratings(model, state, data, queries, scale, *, domain='target'):
  """`Predictions` of a trained model for held-out ratings of one domain."""
  predict = model.predict if domain == 'target' else model.predict_source
  rating, raw, warm = _predict(
    predict, model.trained, tuple(scale), domain, state, data, queries
  )
  columns = (queries.user, queries.gain, raw, rating, warm)
  return Predictions(*(np.asarray(x).reshape(-1) for x in columns))


@functools.partial(jax.jit, static_argnames=('predict', 'trained', 'scale', 'domain'))
@precision.full
def _predict(predict, trained, scale, domain, state, data, queries):
  score = predict(state, data)
  facing = data if domain == 'target' else data.mirrored()
  rating, raw = rate(score, trained, scale, facing, queries)
  known_user = facing.target.by_user.length[queries.user] > 0
  known_item = facing.target.by_item.length[queries.item] > 0
  return rating, raw, known_user[:, None] & known_item


def rate(score, trained, scale, data, queries):
  """Clipped predictions with and without the fallback, both `[Q, K]`."""
  raw = in_blocks(score, queries.user, queries.item)
  known = trained(data, queries.user[:, None], queries.item)
  filled = jnp.where(known, raw, data.target.by_user.mean())
  return jnp.clip(filled, *scale), jnp.clip(raw, *scale)


def in_blocks(score, users, items):
  """`score(users [Q], items [Q, K])`, some thousand queries at a time."""
  q, k = items.shape
  size = min(q, max(1, BLOCK // k))
  n = -(-q // size)
  users = jnp.pad(users, (0, n * size - q))
  items = jnp.pad(items, ((0, n * size - q), (0, 0)))
  scores = jax.lax.map(
    lambda block: score(*block),
    (users.reshape(n, size), items.reshape(n, size, k)),
  )
  return scores.reshape(n * size, k)[:q]


def rating_measures(predictions: Predictions, seed: int = 0) -> dict:
  """RMSE and MAE over all and over warm pairs, and how many those are.

  `..._interval` is a 95 % percentile bootstrap over users; `rmse_unfilled`
  leaves out the fallback for untrained ids. A measure over no pairs, or of
  predictions that are not finite, is None.
  """
  p = predictions
  error = p.rating - p.truth
  measures = {}
  for suffix, chosen in (('', np.ones_like(p.warm)), ('_warm', p.warm)):
    for name, power in POWERS.items():
      those = error[chosen]
      interval = error_interval(p.user[chosen], those, power=power, seed=seed)
      measures[f'{name}{suffix}'] = mean_error(those, power)
      measures[f'{name}{suffix}_interval'] = list(interval)
  return measures | {
    'rmse_unfilled': mean_error(p.raw - p.truth, POWERS['rmse']),
    'ratings': int(p.truth.size),
    'warm': int(p.warm.sum()),
  }


def mean_error(error, power):
  """The power mean of `[Q]` absolute errors: 2 for RMSE, 1 for MAE."""
  if not error.size or not np.all(np.isfinite(error)):
    return None
  error = np.abs(error, dtype=np.float64)
  return float(np.mean(error**power) ** (1 / power))


def error_interval(user, error, other=None, *, power=2, resamples=1000, seed=0):
  """95 % bootstrap interval over users of an error, or of a difference of two.

  Args:
    user: `[Q]` whose rating each one is.
    error: `[Q]` errors.
    other: `[Q]` errors of another model on the same queries; then the interval
      is of the first mean error less the second, resampled in pairs.
    power: 2 for RMSE, 1 for MAE.
    resamples: bootstrap samples.
    seed: of the resampling.

  Returns:
    (low, high); (None, None) where an error is not finite, or there is none.
  """
  errors = [error] if other is None else [error, other]
  if not error.size or not all(np.all(np.isfinite(e)) for e in errors):
    return None, None
  _, user = np.unique(user, return_inverse=True)
  powers = [np.abs(e, dtype=np.float64) ** power for e in errors]
  sums = [np.bincount(user), *(np.bincount(user, each) for each in powers)]
  drawn = significance.resampled_sums(np.stack(sums, axis=-1), resamples, seed)
  means = (drawn[:, 1:] / drawn[:, :1]) ** (1 / power)
  values = means[:, 0] if other is None else means[:, 0] - means[:, 1]
  low, high = np.quantile(values, (0.025, 0.975))
  return float(low), float(high)
