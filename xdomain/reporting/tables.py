"""Records -> means over seeds, differences and their uncertainty.

The uncertainty of a mean over three or more seeds is its 95 % t-interval over
seeds. One or two seeds do not show how much seeds differ: their mean has the interval
over users, and the text of the estimate names it.
"""

import collections
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from xdomain import wording
from xdomain.evaluation import significance
from xdomain.reporting import records as records_lib

SEEDS = 3  # The fewest that have an interval over seeds.
UNBOUNDED = (-math.inf, math.inf)


class Estimate(NamedTuple):
  """A mean over seeds with its 95 % interval, where there is one."""

  mean: float
  low: float | None = None
  high: float | None = None
  over: str = 'seeds'  # or 'users'

  def __str__(self):
    if self.low is None:
      return f'{self.mean:.4f}'
    over = ' over users' if self.over == 'users' else ''
    return f'{self.mean:.4f} ({self.low:.4f} to {self.high:.4f}{over})'

  @property
  def half(self) -> float | None:
    """Half of an interval over seeds; None where it is not symmetric."""
    if self.low is None or self.high is None or self.over != 'seeds':
      return None
    below, above = self.mean - self.low, self.high - self.mean
    return above if math.isclose(below, above, abs_tol=1e-9) else None

  def short(self) -> str:
    """'mean ± half', where the interval is symmetric."""
    return str(self) if self.half is None else f'{self.mean:.4f} ± {self.half:.4f}'


def estimate(
  values: Iterable[float], bounds: tuple[float, float] = UNBOUNDED
) -> Estimate:
  """The mean of one value a seed, and its t-interval within `bounds`."""
  from scipy import stats  # Takes a second to import, so it is imported late.

  seeds = np.asarray(list(values), np.float64)
  mean = float(seeds.mean())
  if seeds.size < SEEDS:
    return Estimate(mean)
  half = stats.t.ppf(0.975, seeds.size - 1) * stats.sem(seeds)
  low, high = np.clip([mean - half, mean + half], *bounds).tolist()
  return Estimate(mean, low, high)


def of_records(records: Sequence[dict], measure: str) -> Estimate:
  """The mean of a measure over the records of one method, one a seed.

  The interval over users of fewer than three seeds has the mean limits of their
  runs.
  """
  values = records_lib.values(records, measure)
  if not values:
    return Estimate(math.nan)
  found = estimate(values, records_lib.bounds(measure))
  limits = [records_lib.user_interval(record, measure) for record in records]
  return found if found.low is not None else _over_users(found.mean, limits)


def _over_users(mean, limits):
  """An estimate with the mean limits of some runs, where all are known."""
  known = [pair for pair in limits if pair]
  if len(known) < len(limits):
    return Estimate(mean)
  low, high = np.mean(known, axis=0).tolist()
  return Estimate(mean, low, high, 'users')


# --- Tables of rows ---------------------------------------------------------


def over_seeds(records: Iterable[dict]) -> list[list[dict[str, str]]]:
  """Tables of means over seeds, one for ratings and one for rankings.

  Args:
    records: one a seed, of any number of methods. Of a sweep, only the member
      with the best validation value counts.

  Returns:
    For each task that has records, a row a method.

  Raises:
    RecordError: as for `records.by_method`.
  """
  records = list(records)
  members = collections.Counter(record['time'] for record in records)
  return [
    [
      _summary(name, group, members)
      for name, group in records_lib.by_method(of_task).items()
    ]
    for of_task in records_lib.by_task(records)
  ]


def _summary(name, group, members):
  task = records_lib.task_of(group[0])
  # The members of one run share its time, and its seconds are those of all.
  seconds = [record['seconds'] / members[record['time']] for record in group]
  return (
    {'method': name, 'seeds': str(len(group))}
    | {
      records_lib.title(measure): str(of_records(group, measure))
      for measure in task.measures
    }
    | {
      'valid': f'{np.mean([record[task.valid] for record in group]):.4f}',
      'epoch': f'{np.median([record["epoch"] for record in group]):.0f}',
      'parameters': f'{group[0].get("parameters", 0):,}',
      'seconds': f'{np.median(seconds):.0f}',
    }
  )


def at_cutoffs(records: Iterable[dict], catalogue: str) -> list[dict[str, str]]:
  """HR and NDCG at every cut-off, a row for each method that ranks.

  Args:
    records: of any methods; those that predict ratings are left out.
    catalogue: 'sampled', 'full' or 'expected'.

  Raises:
    RecordError: as for `records.by_method`, or the catalogue is not known.
  """
  known = records_lib.CATALOGUES
  if catalogue not in known:
    raise records_lib.RecordError(
      f'the catalogue is {catalogue!r}{wording.instead(catalogue, known)}'
    )
  wanted = [
    measure
    for name in ('hr@', 'ndcg@')
    for measure in records_lib.RANKED
    if measure.startswith(f'{catalogue} {name}')
  ]
  ranked = [r for r in records if records_lib.task_of(r) is records_lib.RANKING]
  # Version 0.2 measured no cut-off at 100.
  wanted = [
    measure
    for measure in wanted
    if all(measure.split(' ')[1] in record['test'][catalogue] for record in ranked)
  ]
  return [
    {'method': name, 'seeds': str(len(group))}
    | {
      measure.split(' ')[1].upper(): of_records(group, measure).short()
      for measure in wanted
    }
    for name, group in records_lib.by_method(ranked).items()
  ]


def differences(records: Iterable[dict], against: str = '') -> list[list[dict]]:
  """The differences between methods on shared splits, a table a task.

  Args:
    records: of several methods and seeds.
    against: the method that all others are compared with; every pair if empty.

  Raises:
    RecordError: as for `records.by_method`, or no record is of `against`.
  """
  by_task = [*map(records_lib.by_method, records_lib.by_task(records))]
  if against:
    records_lib.check_method(against, itertools.chain(*by_task))
  tables = []
  for methods in by_task:
    first_of_all = sorted(methods, key=lambda name: name != against)
    rows = [
      row
      for other, name in itertools.combinations(first_of_all, 2)
      if against in ('', other)
      for row in _difference(name, methods[name], other, methods[other])
    ]
    tables += [rows] if rows else []
  return tables


def _difference(name, ours, other, theirs):
  """One row, or none where the two methods share no split."""
  measure = records_lib.task_of(ours[0]).measures[0]
  gap = difference(ours, theirs, measure)
  if gap is None:
    return []
  title = records_lib.title(measure)
  return [{'method': name, 'minus': other, f'difference in {title}': str(gap)}]


def difference(
  ours: Sequence[dict], theirs: Sequence[dict], measure: str
) -> Estimate | None:
  """The mean difference of a measure between two methods on shared splits."""
  by_split = {record['hashes']['split']: record for record in theirs}
  pairs = [
    (record, by_split[record['hashes']['split']])
    for record in ours
    if record['hashes']['split'] in by_split
  ]
  if not pairs:
    return None
  first, second = (records_lib.values(column, measure) for column in zip(*pairs))
  if not len(first) == len(second) == len(pairs):
    return None
  bounds = UNBOUNDED if records_lib.lower_is_better(measure) else (-1.0, 1.0)
  found = estimate((a - b for a, b in zip(first, second)), bounds)
  if found.low is not None:
    return found
  return _over_users(found.mean, [_user_interval(*pair, measure) for pair in pairs])


def _user_interval(one, other, measure):
  """The interval over users of one seed's difference, from sums of each user."""
  sums = [record.get('by_user', {}) for record in (one, other)]
  if any(measure not in of_user for of_user in sums) or sums[0]['n'] != sums[1]['n']:
    return None
  totals = np.stack([of_user[measure] for of_user in sums], axis=-1)
  return significance.difference_interval(
    totals, np.asarray(sums[0]['n']), root=measure == 'rmse'
  )


def user_gap(
  ours: Iterable[dict], theirs: Iterable[dict], measure: str
) -> tuple[np.ndarray, np.ndarray] | None:
  """Sums of a user's differences over shared seeds, and numbers of queries.

  Seeds count where both records have the same queries of every user.

  Returns:
    Two arrays `[U]`, or None where no seed counts.
  """
  gaps = user_gaps(ours, theirs, measure)
  return None if gaps is None else (gaps[0].sum(axis=0), gaps[1].sum(axis=0))


def user_gaps(
  ours: Iterable[dict], theirs: Iterable[dict], measure: str
) -> tuple[np.ndarray, np.ndarray] | None:
  """As `user_gap`, for each of the seeds that count: two arrays `[S, U]`."""

  def by_seed(records) -> Mapping[int, dict]:
    sums = {record['seed']: record.get('by_user', {}) for record in records}
    return {seed: of_user for seed, of_user in sums.items() if measure in of_user}

  first, second = by_seed(ours), by_seed(theirs)
  pairs = [
    (first[seed], second[seed])
    for seed in first
    if seed in second and first[seed]['n'] == second[seed]['n']
  ]
  if not pairs:
    return None
  users = max(len(one['n']) for one, _ in pairs)
  gaps, queries = np.zeros((2, len(pairs), users))
  for gap, n, (one, other) in zip(gaps, queries, pairs):
    gap[: len(one['n'])] = np.subtract(one[measure], other[measure])
    n[: len(one['n'])] = one['n']
  if measure in records_lib.LISTED:  # A user has one list, whatever it holds.
    queries = np.minimum(queries, 1)
  return gaps, queries
