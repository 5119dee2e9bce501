"""Records -> tables with the uncertainty of their numbers."""

import itertools
import json
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Estimate(NamedTuple):
  """A mean over seeds and its 95 % interval (Student's t); None for one."""

  mean: float
  low: float | None
  high: float | None

  def __str__(self):
    if self.low is None:
      return f'{self.mean:.4f}'
    return f'{self.mean:.4f} ({self.low:.4f} to {self.high:.4f})'


def estimate(values: Iterable[float]) -> Estimate:
  """The mean of one value a seed."""
  from scipy import stats  # A second to import, so only where it is used.

  values = np.asarray(list(values), np.float64)
  mean = float(values.mean())
  if values.size < 2:
    return Estimate(mean, None, None)
  half = stats.t.ppf(0.975, values.size - 1) * stats.sem(values)
  return Estimate(mean, float(mean - half), float(mean + half))


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
  for name, group in _methods(records).items():
    tests = [record['test'] for record in group]
    rows.append(
      {
        'method': name,
        'seeds': str(len(group)),
        'RMSE': str(estimate(test['rmse'] for test in tests)),
        'MAE': str(estimate(test['mae'] for test in tests)),
        'valid': f'{np.mean([r["valid_rmse"] for r in group]):.4f}',
        'epoch': f'{np.median([r["epoch"] for r in group]):.0f}',
        'parameters': f'{group[0]["parameters"]:,}',
        'seconds': f'{np.median([r["seconds"] for r in group]):.0f}',
      }
    )
  return rows


def differences(records: list[dict]) -> list[dict[str, str]]:
  """RMSE of each method less that of each other, on the same splits."""
  groups = {
    name: {
      record['hashes']['split']: record['test']['rmse'] for record in group
    }
    for name, group in _methods(records).items()
  }
  rows = []
  for (other, theirs), (name, ours) in itertools.combinations(
    groups.items(), 2
  ):
    shared = sorted(ours.keys() & theirs.keys())
    if shared:
      gap = estimate(ours[split] - theirs[split] for split in shared)
      rows.append(
        {'RMSE of': name, 'less that of': other, 'difference': str(gap)}
      )
  return rows


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
    value = record['valid_rmse']
    if value is None:
      raise ValueError(f'a run of {record["name"]} has failed; leave it out')
    run = [record['name'], record['config'], record['time']]
    key = json.dumps(run, sort_keys=True)
    if key not in runs or value < runs[key]['valid_rmse']:
      runs[key] = record
  return runs.values()


def _check_group(name, group):
  first = group[0]
  for record in group[1:]:
    differs = [
      field
      for field in first['config']
      if field != 'seed'
      and record['config'].get(field) != first['config'][field]
    ]
    if differs:
      raise ValueError(
        f'the records of {name} are of several configs: {", ".join(differs)}'
        ' differ; give those of one'
      )
  seeds = [record['seed'] for record in group]
  if len(set(seeds)) < len(seeds):
    raise ValueError(f'the records of {name} hold a seed twice: {seeds}')
