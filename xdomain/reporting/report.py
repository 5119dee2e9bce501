"""Records -> tables with the uncertainty of their numbers."""

import collections
import itertools
import json
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from xdomain import wording

# The columns of a table and where a record's test holds them, by what the
# validation of the record is called.
MEASURES = {
  'valid_rmse': {'RMSE': ('rmse',), 'MAE': ('mae',)},
  'valid_ndcg@10': {
    f'{kind} {name.upper()}': (kind, name)
    for kind in ('sampled', 'full')
    for name in ('ndcg@10', 'hr@10')
  },
}


class Estimate(NamedTuple):
  """A mean over seeds and its 95 % interval (Student's t); None for one."""

  mean: float
  low: float | None
  high: float | None

  def __str__(self):
    if self.low is None:
      return f'{self.mean:.4f}'
    return f'{self.mean:.4f} ({self.low:.4f} to {self.high:.4f})'

  def plus_minus(self) -> str:
    """The shorter form."""
    if self.low is None:
      return f'{self.mean:.4f}'
    return f'{self.mean:.4f} ± {self.high - self.mean:.4f}'


def estimate(values: Iterable[float]) -> Estimate:
  """The mean of one value a seed."""
  from scipy import stats  # A second to import, so only where it is used.

  values = np.asarray(list(values), np.float64)
  mean = float(values.mean())
  if values.size < 2:
    return Estimate(mean, None, None)
  half = stats.t.ppf(0.975, values.size - 1) * stats.sem(values)
  return Estimate(mean, float(mean - half), float(mean + half))


def loss(record: dict) -> float:
  """What validation chose by, lower is better; infinite for a failed run."""
  name = valid(record)
  if record[name] is None or record.get('failed'):
    return np.inf
  return record[name] if name == 'valid_rmse' else 1 - record[name]


def over_seeds(records: list[dict]) -> list[dict[str, str]]:
  """A row a method, in the order of their first records.

  Args:
    records: as runs leave them, one a seed. Of a sweep, only the member that
      validation chose counts.

  Returns:
    Columns of text by name; measures are `Estimate`s over seeds.

  Raises:
    ValueError: records of one method that are of several configs, of one seed
      twice, or of a run that failed.
  """
  rows = []
  # Members of one run share its time, and its seconds are of all of them.
  members = collections.Counter(record['time'] for record in records)
  for name, group in _methods(records).items():
    seconds = [each['seconds'] / members[each['time']] for each in group]
    chosen_by = [record[valid(record)] for record in group]
    measures = {
      column: str(estimate(_at(record['test'], path) for record in group))
      for column, path in MEASURES[valid(group[0])].items()
    }
    rows.append(
      {'method': name, 'seeds': str(len(group))}
      | measures
      | {
        'valid': f'{np.mean(chosen_by):.4f}',
        'epoch': f'{np.median([r["epoch"] for r in group]):.0f}',
        'parameters': f'{group[0]["parameters"]:,}',
        'seconds': f'{np.median(seconds):.0f}',
      }
    )
  return rows


def at_cutoffs(records: list[dict], kind: str) -> list[dict[str, str]]:
  """HR and NDCG at every cutoff, means over seeds and their 95 % t-intervals.

  Args:
    records: of methods that rank; others are passed over.
    kind: 'sampled', 'full' or 'expected'.

  Raises:
    ValueError: as for `over_seeds`, or there is no such kind.
  """
  kinds = 'sampled', 'full', 'expected'
  if kind not in kinds:
    raise ValueError(f'{kind!r} is no kind{wording.instead(kind, kinds)}')
  rows = []
  for name, group in _methods(records).items():
    tests = [record['test'][kind] for record in group if kind in record['test']]
    if tests:
      columns = {
        measure.upper(): estimate(test[measure] for test in tests).plus_minus()
        for wanted in ('hr@', 'ndcg@')
        for measure in tests[0]
        if measure.startswith(wanted)
      }
      rows.append({'method': name, 'seeds': str(len(tests))} | columns)
  return rows


def differences(records: list[dict], against='') -> list[dict[str, str]]:
  """The first measure of each method less that of each other, by split.

  Args:
    records: of several methods and seeds.
    against: the only method that others are compared with; all, if empty.

  Raises:
    ValueError: as for `over_seeds`, or there is no such method.
  """
  groups = {}
  for name, group in _methods(records).items():
    (measure, path), *_ = MEASURES[valid(group[0])].items()
    groups[measure, name] = {
      record['hashes']['split']: _at(record['test'], path) for record in group
    }
  names = [name for _, name in groups]
  if against and against not in names:
    raise ValueError(
      f'there are no records of {against!r}{wording.instead(against, names)}'
    )
  rows = []
  the_one_first = sorted(groups, key=lambda group: group[1] != against)
  for first, second in itertools.combinations(the_one_first, 2):
    if against not in ('', first[1]):
      continue
    shared = sorted(groups[first].keys() & groups[second].keys())
    if shared and first[0] == second[0]:
      gap = estimate(groups[second][s] - groups[first][s] for s in shared)
      measure, other = first
      rows.append(
        {
          f'{measure} of': second[1],
          'less that of': other,
          'difference': str(gap),
        }
      )
  return rows


def plotted(records: list[dict]) -> dict[str, Estimate]:
  """The measures of one setting that are worth a curve, over its seeds.

  Those of one scale: RMSE, or HR and NDCG at 10, each in the test and as
  validation saw it. NaN where a run has failed.
  """
  chosen_by = valid(records[0])
  paths = {
    'valid_rmse': {
      'test RMSE': ('test', 'rmse'),
      'validation RMSE': ('valid_rmse',),
    },
    'valid_ndcg@10': {
      'NDCG@10': ('test', 'sampled', 'ndcg@10'),
      'HR@10': ('test', 'sampled', 'hr@10'),
      'validation NDCG@10': ('valid_ndcg@10',),
    },
  }[chosen_by]
  failed = any(loss(record) == np.inf for record in records)
  nothing = Estimate(float('nan'), None, None)
  return {
    name: nothing if failed else estimate(_at(r, path) for r in records)
    for name, path in paths.items()
  }


def valid(record: dict) -> str:
  """What the validation of a record is called."""
  return next(name for name in MEASURES if name in record)


def _at(measures, path):
  """The measure at `path`, such as ('full', 'hr@10')."""
  for name in path:
    measures = measures[name]
  return measures


def markdown(rows: list[dict[str, str]]) -> str:
  """A Markdown table of rows that share their columns."""
  names = list(rows[0])
  lines = [names, ['---'] * len(names), *(row.values() for row in rows)]
  return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def _methods(records):
  """The records of each method, one a seed, checked to belong together."""
  methods = {}
  for record in _chosen(records):
    methods.setdefault(record['name'], []).append(record)
  for name, group in methods.items():
    _check_group(name, group)
  return methods


def _chosen(records):
  """Of each run the member with the best validation value."""
  runs = {}
  for record in records:
    if loss(record) == np.inf:
      raise ValueError(f'a run of {record["name"]} has failed; leave it out')
    run = [record['name'], record['config'], record['time']]
    key = json.dumps(run, sort_keys=True)
    if key not in runs or loss(record) < loss(runs[key]):
      runs[key] = record
  return runs.values()


def _check_group(name, group):
  first = group[0]['config']
  for record in group[1:]:
    differs = [
      field
      for field in first
      if field not in ('seed', 'sweep') and record['config'].get(field) != first[field]
    ]
    if differs:
      raise ValueError(
        f'the records of {name} are of several configs: {", ".join(differs)}'
        ' differ; give those of one'
      )
  seeds = [record['seed'] for record in group]
  if len(set(seeds)) < len(seeds):
    raise ValueError(f'the records of {name} hold a seed twice: {seeds}')
