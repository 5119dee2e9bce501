"""Bootstrap resampling of users, and tests of differences between two methods."""

from collections.abc import Sequence

import chex
import numpy as np

# A random byte says how often a user is drawn: as many times as it reaches one of
# these numbers. That is the Poisson law of mean 1 in 256ths, with a mean of 1, a
# variance of 1 and hardly any skew lost.
TIMES = np.cumsum((94, 95, 46, 16, 4), dtype=np.uint8)
CELLS = 1 << 22  # Draws held at a time.
# Above this many users, Poisson draws replace multinomial ones: they cost a tenth,
# and the law of the resampled means is the same to about one part in sqrt(U).
MANY = 100_000
# `MANY` users are drawn for `BLOCK` resamples at a time, which share a pass over the
# values with those of the next three blocks.
BLOCK = 16
USERS = 8192  # Users whose draws and values fit a core's cache.
# Products of so few users are too small for the threads of BLAS, which wait by
# spinning and can take a hundred times as long where another program runs.
FEW = 128


def resampled_sums(
  values: np.ndarray, resamples: int = 1000, seed: int = 0
) -> np.ndarray:
  """`[resamples, M]` sums of `values [U, M]` over users drawn with replacement."""
  chex.assert_rank(values, 2)
  rng = np.random.default_rng(seed)
  if len(values) > MANY:
    return _many_resampled_sums(rng, np.asarray(values, np.float32), resamples)
  values = np.asarray(values, np.float64)
  block = min(resamples, max(16, CELLS // (4 * len(values))))
  sizes = [min(block, resamples - k) for k in range(0, resamples, block)]
  return np.concatenate([_redrawn(rng, len(values), n) @ values for n in sizes])


def _many_resampled_sums(rng, values, resamples):
  users, sums = len(values), []
  for begin in range(0, resamples, 4 * BLOCK):
    left = min(4 * BLOCK, resamples - begin)
    sizes = [min(BLOCK, left - k) for k in range(0, left, BLOCK)]
    # The words of `rng.bytes`, which takes three times as long.
    words = [rng.bit_generator.random_raw(-(-n * users // 8)) for n in sizes]
    drawn = [
      word.view(np.uint8)[: n * users].reshape(n, users)
      for word, n in zip(words, sizes)
    ]
    sums.append(_poisson_sums(drawn, values))
  return np.concatenate(sums)


def _redrawn(rng, users, n):
  """`[n, U]` how often each user occurs in `U` draws, for `n` resamples."""
  times = np.empty((n, users))
  for row in times:
    drawn = rng.integers(users, size=users, dtype=np.uint32)
    row[:] = np.bincount(drawn, minlength=users)
  return times


def paired_bootstrap(
  difference: np.ndarray, weight: np.ndarray, resamples: int = 10_000, seed: int = 0
) -> np.ndarray:
  """Two-sided p-values of the hypothesis that a mean difference is 0.

  Users are resampled, each a Poisson number of times (Hanley and MacGibbon 2006)
  rather than all of them a multinomial number: independent draws are ten times as
  fast and, with few users, raise fewer false alarms. `sum(difference) /
  sum(weight)` has the sign of its numerator, so only the numerator is resampled.

  Args:
    difference: `[..., U]` the sum of each user's paired differences; each leading
      index is a test of its own, and all tests share their draws.
    weight: `[..., U]` the number of differences; users without any are dropped.
    resamples: the number of resamples; p-values are at least
      `2 / (1 + resamples)`.
    seed: of the draws.

  Returns:
    `[...]` p-values.

  Raises:
    ValueError: shapes differ, a difference is not finite, or a weight is negative.
  """
  difference = _observed(difference, weight)
  rng = np.random.default_rng(seed)
  users = difference.shape[-1]
  block = min(resamples, max(1, CELLS // users))
  blocks = range(-(-resamples // block))
  columns = difference.reshape(-1, users).T
  sums = [poisson_sums_of(rng, block, columns) for _ in blocks]
  sums = np.concatenate(sums)[:resamples].reshape(-1, *difference.shape[:-1])
  rounding = 1e-6 * np.abs(difference).sum(-1)  # A tie is a tie, also rounded.
  tail = np.minimum((sums <= rounding).sum(0), (sums >= -rounding).sum(0))
  return np.minimum(1.0, 2 * (1 + tail) / (1 + resamples))


def difference_interval(
  totals: np.ndarray,
  queries: np.ndarray,
  *,
  root: bool = False,
  resamples: int = 1000,
  seed: int = 0,
) -> tuple[float, float]:
  """The 95 % percentile bootstrap interval, over users, of a difference of means.

  Args:
    totals: `[U, 2]` sums of two methods over the queries of each user.
    queries: `[U]` numbers of queries; users without any are dropped.
    root: whether the square roots of the means are compared, as for RMSE.
    resamples: how many samples of users are drawn.
    seed: of the draws.
  """
  totals, queries = np.asarray(totals, float), np.asarray(queries, float)
  chex.assert_shape(totals, (queries.size, 2))
  seen = queries > 0
  columns = np.column_stack([totals, queries])[seen].astype(np.float32)
  rng = np.random.default_rng(seed)
  block = min(resamples, max(1, CELLS // len(columns)))
  blocks = range(-(-resamples // block))
  sums = [poisson_sums_of(rng, block, columns) for _ in blocks]
  drawn = np.concatenate(sums)[:resamples].astype(float)
  first, second, count = drawn[drawn[:, 2] > 0].T  # Some draw no user at all.
  means = np.stack([first, second]) / count
  one, other = np.sqrt(means) if root else means
  low, high = np.quantile(one - other, (0.025, 0.975)).tolist()
  return low, high


def _observed(difference, weight):
  """The differences of users with any, scaled to at most 1 in absolute value."""
  difference, weight = np.asarray(difference, float), np.asarray(weight, float)
  if not difference.ndim or difference.shape != weight.shape:
    shapes = f'{difference.shape} and {weight.shape}'
    raise ValueError(f'a difference and a weight a user, not shapes {shapes}')
  if not np.isfinite(difference).all():
    raise ValueError('a difference is not finite; has a method diverged?')
  if not (weight >= 0).all() or not weight.any(-1).all():
    raise ValueError('weights count observations; none is negative, some not 0')
  seen = (weight > 0).any(tuple(range(weight.ndim - 1)))
  difference = difference[..., seen]
  largest = np.abs(difference).max(-1, keepdims=True)
  return (difference / np.where(largest, largest, 1)).astype(np.float32)


def poisson_sums_of(rng: np.random.Generator, n: int, values: np.ndarray) -> np.ndarray:
  """`[n, M]` sums of `values [U, M]` over users drawn a Poisson number of times."""
  drawn = np.frombuffer(rng.bytes(n * len(values)), np.uint8)
  return _poisson_sums([drawn.reshape(n, -1)], values)


def _poisson_sums(drawn, values):
  """`[N, M]` sums of `values [U, M]`, weighted by the draws of blocks `[n, U]`."""
  total = np.zeros((sum(map(len, drawn)), values.shape[1]))
  for begin in range(0, len(values), USERS):
    some = np.concatenate([block[:, begin : begin + USERS] for block in drawn])
    column = values[begin : begin + USERS]
    missing = -len(column) % FEW
    some = np.pad(some, ((0, 0), (0, missing)))
    column = np.pad(column, ((0, missing), (0, 0)))
    times = np.zeros_like(some)
    for reached in TIMES:
      times += some >= reached
    parts = times.astype(np.float32).reshape(len(some), -1, FEW).swapaxes(0, 1)
    total += np.sum(parts @ column.reshape(-1, FEW, values.shape[1]), axis=0)
  return total


def holm(p_values: np.ndarray | Sequence[float]) -> np.ndarray:
  """p-values adjusted for multiple tests, in the order given (Holm 1979)."""
  p_values = np.asarray(p_values, float)
  if not ((p_values >= 0) & (p_values <= 1)).all():
    raise ValueError(f'p-values are from 0 to 1, not {p_values}')
  order = np.argsort(p_values, kind='stable')
  left = np.arange(p_values.size, 0, -1)  # Tests that were not yet rejected.
  adjusted = np.empty_like(p_values)
  adjusted[order] = np.maximum.accumulate(p_values[order] * left).clip(max=1)
  return adjusted
