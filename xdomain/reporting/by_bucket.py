"""Differences of two methods by buckets of users or items: activity, popularity, ..."""

import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from xdomain.data import buckets
from xdomain.evaluation import rankings, significance
from xdomain.reporting import drawing, figures

if TYPE_CHECKING:
  from matplotlib.figure import Figure

BY = {
  'history': 'source interactions of the user',
  'activity': 'target interactions of the user',
  'popularity': 'training users of the item',
}
FEWEST = 10  # users of a bucket that is shown


def differences(
  ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], by: str
) -> list[dict]:
  """The difference of two methods in each bucket, with its interval over users.

  Args:
    ours: `[Q]` arrays of a run's test, as `store.test_of` returns them.
    theirs: those of another run on the same queries.
    by: one of `BY`.

  Returns:
    For each bucket with enough users: its name, the numbers of queries and users, both
    means and their difference, in NDCG@10 of the full catalogue or in RMSE.
  """
  rates = 'rating' in ours
  values = np.stack([_values(each, rates) for each in (ours, theirs)], axis=-1)
  bucket = buckets.of(ours[by])
  rows = []
  for at, name in enumerate(buckets.names()):
    chosen = bucket == at
    user, row = np.unique(ours['user'][chosen], return_inverse=True)
    if user.size < FEWEST:
      continue
    totals = np.stack([np.bincount(row, v) for v in values[chosen].T], axis=-1)
    n = np.bincount(row)
    means = totals.sum(axis=0) / n.sum()
    one, other = np.sqrt(means) if rates else means
    low, high = significance.difference_interval(totals, n, root=rates)
    rows.append(
      {'bucket': name, 'queries': int(n.sum()), 'users': int(user.size)}
      | {'ours': float(one), 'theirs': float(other), 'difference': float(one - other)}
      | {'low': low, 'high': high}
    )
  return rows


def _values(test, rates):
  if rates:
    return np.square(test['rating'] - test['truth'], dtype=float)
  at = rankings.names().index('ndcg@10')
  return rankings.gains(test['full'])[:, at]


@drawing.styled
def plot(rows: list[dict], by: str, measure: str) -> 'Figure':
  """The differences of buckets as points with intervals, around a line at 0."""
  figure, axes = drawing.empty(BY[by], f'difference in {measure}')
  x = np.arange(len(rows))
  middle = np.array([row['difference'] for row in rows])
  limits = np.array([[row['low'], row['high']] for row in rows]).reshape(-1, 2).T
  axes.axhline(0, color='0.6', linewidth=0.8)
  axes.errorbar(x, middle, np.abs(limits - middle), fmt='o', capsize=2)
  axes.set_xticks(x, [f'{row["bucket"]}\n{row["users"]:,}' for row in rows])
  return figure


def save(
  rows: list[dict],
  by: str,
  measure: str,
  folder: pathlib.Path,
  say: Callable[[str], object],
) -> None:
  """Writes `plot.png` and `plot.svg`, or says why there are none."""
  try:
    figures.save(plot(rows, by, measure), folder / 'plot')
  except drawing.MissingMatplotlib as error:
    say(str(error))
