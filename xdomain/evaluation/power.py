"""The size of a difference, its interval, and the smallest one a test could find.

A p-value says whether a difference is beyond chance. Beside it stand the effect size,
which does not grow with the number of users, the smallest difference that the test
would have found, and an interval over users and seeds together.
"""

from typing import NamedTuple

import chex
import numpy as np

from xdomain.evaluation import significance

LEVEL, POWER = 0.05, 0.8


class Difference(NamedTuple):
  """A mean difference between two methods, and how sure it is."""

  mean: float
  effect: float  # Cohen's d of paired differences: their mean over their deviation
  detectable: float  # found with a probability of `POWER` at the level `LEVEL`
  low: float  # of the 95 % interval over users and seeds
  high: float
  p: float  # two-sided, over users and seeds


def difference(
  totals: np.ndarray, weight: np.ndarray, resamples: int = 1000, seed: int = 0
) -> Difference:
  """The difference of two methods' means over the queries of all users and seeds.

  Args:
    totals: `[S, U]` the sum of each user's paired differences in each seed.
    weight: `[S, U]` the number of queries of the user there.
    resamples: of the bootstrap.
    seed: of the bootstrap.
  """
  chex.assert_rank([totals, weight], 2)
  chex.assert_equal_shape([totals, weight])
  of_user, n = totals.sum(axis=0), weight.sum(axis=0)
  seen = n > 0
  mean = totals.sum() / weight.sum()
  each = of_user[seen] / n[seen]
  spread = each.std(ddof=1) if each.size > 1 else 0.0
  means = hierarchical(totals, weight, resamples, seed)
  low, high = np.quantile(means, (0.025, 0.975)).tolist()
  tail = min(np.count_nonzero(means <= 0), np.count_nonzero(means >= 0))
  return Difference(
    float(mean),
    float(each.mean() / spread) if spread else 0.0,
    detectable(of_user[seen], n[seen]),
    low,
    high,
    min(1.0, 2 * (1 + tail) / (1 + resamples)),
  )


def detectable(totals: np.ndarray, weight: np.ndarray) -> float:
  """The smallest mean difference that a test of these users would have found.

  It is the sum of the normal quantiles of level and power times the standard error of
  the mean, a ratio of sums over users (Bloom 1995; Card et al., EMNLP 2020).

  Args:
    totals: `[U]` the sum of each user's paired differences.
    weight: `[U]` the number of the user's queries.
  """
  from scipy import special

  users = totals.size
  if users < 2:
    return float('inf')
  rest = totals - weight * (totals.sum() / weight.sum())
  error = np.sqrt(users / (users - 1) * np.square(rest).sum()) / weight.sum()
  return float((special.ndtri(1 - LEVEL / 2) + special.ndtri(POWER)) * error)


def hierarchical(
  totals: np.ndarray, weight: np.ndarray, resamples: int = 1000, seed: int = 0
) -> np.ndarray:
  """`[resamples]` mean differences over seeds and users drawn with replacement.

  Seeds are drawn, then users; the users of a resample are the same in all of its seeds,
  as the seeds' tests share them (the pigeonhole bootstrap: Owen 2007).

  Args:
    totals: `[S, U]` as of `difference`.
    weight: `[S, U]` the same.
    resamples: how many.
    seed: of the draws.
  """
  rng = np.random.default_rng(seed)
  seeds, users = totals.shape
  # [R, S]: how often each seed is drawn.
  drawn = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples)
  columns = np.concatenate([totals, weight]).T.astype(np.float32)  # [U, 2 S]
  block = min(resamples, max(1, significance.CELLS // users))
  blocks = range(-(-resamples // block))
  sums = [significance.poisson_sums_of(rng, block, columns) for _ in blocks]
  top, bottom = np.split(np.concatenate(sums)[:resamples], 2, axis=1)
  return (drawn * top).sum(axis=1) / np.maximum((drawn * bottom).sum(axis=1), 1)
