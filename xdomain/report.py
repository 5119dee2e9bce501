"""Records -> tables with the uncertainty of their numbers."""

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
    records: as a run leaves them. Those of one name share a row, so they must
      be of one config: `ValueError` names the fields that differ.

  Returns:
    Columns of text by name; measures are `Estimate`s over seeds.
  """
  rows = []
  for name, group in _by_name(records).items():
    _check_one_config(name, group)
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
    for name, group in _by_name(records).items()
  }
  rows = []
  names = list(groups)
  for index, name in enumerate(names):
    for other in names[:index]:
      shared = sorted(groups[name].keys() & groups[other].keys())
      if shared:
        gaps = [groups[name][s] - groups[other][s] for s in shared]
        gap = str(estimate(gaps))
        rows.append({'RMSE of': name, 'less that of': other, 'difference': gap})
  return rows


def markdown(rows: list[dict[str, str]]) -> str:
  """A Markdown table of rows that share their columns."""
  names = list(rows[0])
  lines = [names, ['---'] * len(names), *(row.values() for row in rows)]
  return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def _by_name(records):
  groups = {}
  for record in records:
    groups.setdefault(record['name'], []).append(record)
  return groups


def _check_one_config(name, group):
  first = group[0]['config']
  for record in group[1:]:
    differs = [
      field
      for field in first
      if field != 'seed' and record['config'].get(field) != first[field]
    ]
    if differs:
      raise ValueError(
        f'the records of {name} are of several configs: {", ".join(differs)}'
        ' differ; give those of one'
      )
