"""RMSE and MAE of predicted ratings, with bootstrap intervals.

Predictions are clipped to the rating scale here and nowhere else. A prediction
that rests on no training data of its own (`Model.trained`) is replaced by the
mean of the training ratings; measures with and without these are reported.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from xdomain import base, precision, shards
from xdomain.evaluation import significance

BLOCK = 8192  # Queries scored at a time.
POWERS = {'rmse': 2, 'mae': 1}


class RatingError(NamedTuple):
  """RMSE of clipped predictions with the fallback: a validation measure for `fit`.

  Its answers are the predictions with and without the fallback, both `[Q, K]`.
  """

  scale: tuple[float, float]
  trained: Callable[..., base.Array] = base.everything_trained

  def __call__(self, score, data, queries):
    rating, raw = rate(score, self.trained, self.scale, data, queries)
    squared = jnp.where(queries.mask, (rating - queries.gain) ** 2, 0.0)
    return jnp.sqrt(jnp.sum(squared) / jnp.sum(queries.mask)), (rating, raw)


class Predictions(NamedTuple):
  """Predictions for `[Q]` rating queries, on the host."""

  user: np.ndarray
  truth: np.ndarray
  raw: np.ndarray  # clipped, without the fallback
  rating: np.ndarray  # clipped, with the fallback
  warm: np.ndarray  # bool: user and item both have training ratings


def predict_ratings(
  model: base.Model,
  state: base.Tree,
  data: base.Arrays,
  queries: base.Queries,
  scale: tuple[float, float],
  *,
  domain: str = 'target',
) -> Predictions:
  """`Predictions` of a trained model for held-out ratings of one domain."""
  predict = model.predict if domain == 'target' else model.predict_source
  facing = data if domain == 'target' else data.mirrored()
  rating, raw = _predict(
    predict, model.trained, tuple(scale), state, data, facing, queries
  )
  return predictions(facing, queries, np.asarray(rating), np.asarray(raw))


def predictions(
  data: base.Arrays, queries: base.Queries, rating: np.ndarray, raw: np.ndarray
) -> Predictions:
  """`Predictions` of the target from ratings `[Q, 1]` with and without the fallback."""
  chex.assert_equal_shape([queries.item, queries.gain, rating, raw])
  known_user, known_item = (
    np.diff(np.asarray(rows.start))[np.asarray(ids)] > 0
    for rows, ids in zip(data.target, (queries.user, queries.item))
  )
  warm = known_user[:, None] & known_item
  columns = (queries.user, queries.gain, raw, rating, warm)
  return Predictions(*(x.reshape(-1) for x in shards.fetch(columns)))


@functools.partial(jax.jit, static_argnames=('predict', 'trained', 'scale'))
@precision.full
def _predict(predict, trained, scale, state, data, facing, queries):
  state, data, facing = shards.whole((state, data, facing))
  return rate(predict(state, data), trained, scale, facing, queries)


def rate(
  score: base.Score,
  trained: Callable[..., base.Array],
  scale: tuple[float, float],
  data: base.Arrays,
  queries: base.Queries,
) -> tuple[base.Array, base.Array]:
  """Clipped predictions with and without the fallback, both `[Q, K]`."""
  chex.assert_equal_shape([queries.item, queries.gain, queries.mask])
  raw = in_blocks(score, queries.user, queries.item)
  known = trained(data, queries.user[:, None], queries.item)
  filled = jnp.where(known, raw, data.target.by_user.mean())
  return jnp.clip(filled, *scale), jnp.clip(raw, *scale)


def in_blocks(score: base.Score, users: base.Array, items: base.Array) -> base.Array:
  """`[Q, K]` scores of items `[Q, K]` for users `[Q]`, in blocks of bounded size."""
  chex.assert_rank([users, items], [1, 2])
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
  """RMSE and MAE over all ratings and over warm ones, and the number of each.

  `..._interval` is a 95 % percentile bootstrap over users; `rmse_unfilled` is
  without the fallback. A measure over no ratings, or of predictions that are not
  finite, is None.
  """
  p = predictions
  chex.assert_rank(p.user, 1)
  chex.assert_equal_shape(p)
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


def mean_error(error: np.ndarray, power: int) -> float | None:
  """The power mean of `[Q]` absolute errors: 2 for RMSE, 1 for MAE."""
  chex.assert_rank(error, 1)
  if not error.size or not np.all(np.isfinite(error)):
    return None
  error = np.abs(error, dtype=np.float64)
  return float(np.mean(error**power) ** (1 / power))


def error_interval(
  user: np.ndarray,
  error: np.ndarray,
  other: np.ndarray | None = None,
  *,
  power: int = 2,
  resamples: int = 1000,
  seed: int = 0,
) -> tuple[float, float] | tuple[None, None]:
  """95 % bootstrap interval over users of a mean error, or of a difference of two.

  Args:
    user: `[Q]` the user of each rating.
    error: `[Q]` errors.
    other: `[Q]` errors of another model on the same queries; the interval is then
      that of the first mean error minus the second, resampled in pairs.
    power: 2 for RMSE, 1 for MAE.
    resamples: the number of bootstrap samples.
    seed: of the resampling.

  Returns:
    (low, high); (None, None) if an error is not finite or there are none.
  """
  errors = [error] if other is None else [error, other]
  chex.assert_rank(user, 1)
  chex.assert_equal_shape([user, *errors])
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
