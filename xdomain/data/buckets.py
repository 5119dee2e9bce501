"""Buckets of users by activity, of items by popularity, and of source history."""

import itertools
from collections.abc import Mapping

import numpy as np

EDGES = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def names() -> list[str]:
  """The names of the buckets: '0', '1', '2-4', ... and '1000+'."""
  inner = [
    f'{low}' if high == low + 1 else f'{low}-{high - 1}'
    for low, high in itertools.pairwise(EDGES)
  ]
  return [*inner, f'{EDGES[-1]}+']


def of(count: np.ndarray) -> np.ndarray:
  """`[Q]` the bucket of each count."""
  return np.searchsorted(EDGES, count, 'right') - 1


def sizes(count: np.ndarray) -> dict[str, int]:
  """The number of counts in each bucket."""
  return dict(zip(names(), np.bincount(of(count), minlength=len(EDGES)).tolist()))


def _finite(number) -> float | None:
  return float(number) if np.isfinite(number) else None


def means(count: np.ndarray, columns: Mapping[str, np.ndarray]) -> dict[str, dict]:
  """The mean of each column in every bucket that has a query.

  Args:
    count: `[Q]` what decides the bucket of a query.
    columns: `[Q]` values by name.

  Returns:
    By bucket: the number of `queries` and the mean of each column, None where that is
    not finite.
  """
  bucket = of(np.asarray(count))
  n = np.bincount(bucket, minlength=len(EDGES))
  sums = {
    name: np.bincount(bucket, column, minlength=len(EDGES))
    for name, column in columns.items()
  }
  return {
    name: {'queries': int(n[at])}
    | {column: _finite(sums[column][at] / n[at]) for column in columns}
    for at, name in enumerate(names())
    if n[at]
  }
