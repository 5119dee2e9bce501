"""The cells of a table: the run that fills each, and the runs there are.

A record is a cell's where all that decides it is the same: method, settings,
hyper-parameters, seed, protocol and budget, the data by its hash, and the
version of this package.
"""

import json
import pathlib
from typing import NamedTuple

import numpy as np

from xdomain import files, wording
from xdomain.data import sources
from xdomain.evaluation import rankings
from xdomain.runs import spec as specs

MEASURES = (
  'rmse',
  'mae',
  *(f'{kind} {name}' for kind in ('sampled', 'full') for name in rankings.names()),
)


class Found(NamedTuple):
  """A record, and the folder of its run, where that is here."""

  record: dict
  folder: pathlib.Path | None
  member: int


def of(table) -> dict[tuple[str, str], specs.Spec]:
  """The spec of each (row, column) of a table, but for its seed."""
  for field, known in (
    ('rows', table.methods),
    ('columns', table.on),
    ('measures', MEASURES),
    ('seeds', table.seeds),
  ):
    if not table[field]:
      raise specs.SpecError(f'config.{field} is empty')
    for name in table[field]:
      if name not in known:
        raise specs.SpecError(
          f'config.{field} names {name!r}{wording.instead(name, known)}'
        )
      if list(table[field]).count(name) > 1:
        raise specs.SpecError(f'config.{field} names {name!r} more than once')
  return {
    (row, column): _cell(table, table.methods[row], table.on[column].terms)
    for row in table.rows
    for column in table.columns
  }


def _cell(table, config, terms):
  """A row's config on the terms of a column."""
  terms = terms.to_dict()
  cell = config.copy_and_resolve_references()
  with cell.unlocked(), cell.ignore_type():
    cell.data = terms.pop('data', None) or table.data.to_dict()
    cell.update(terms)
    cell.beside = {}
    for field, name in _set_by_columns(table):
      if name in cell.search[field]:
        del cell.search[field][name]
  return specs.from_config(cell)


def _set_by_columns(table):
  """What columns say themselves: `('hyper', 'beta')`, and no search does."""
  return {
    (field, name)
    for column in table.on.values()
    for field in ('hyper', 'model')
    for name in column.terms.get(field, ())
  }


def as_searched(table, row, cell):
  """A cell with its row's own values of what columns set."""
  own = {'hyper': {}, 'model': {}}
  for field, name in _set_by_columns(table):
    own[field][name] = table.methods[row][field][name]
  return specs.replaced(cell, **own)


def identity(config, hyper) -> str:
  """Of what decides a record, but for the data.

  Args:
    config: of a run, or as a record holds it.
    hyper: the hyper-parameters of one member.
  """
  return json.dumps(specs.identity(config, hyper, but=('data',)), sort_keys=True)


def archive(workdir, kept) -> dict[str, list[Found]]:
  """All records of this version, by identity.

  Args:
    workdir: of run folders.
    kept: a folder of `records.jsonl.xz` in folders.
  """
  found = [
    Found(record, path.parent, member)
    for path in sorted(pathlib.Path(workdir).glob('*-seed*/records.jsonl'))
    for member, record in enumerate(files.read(path))
  ]
  found += [
    Found(_of_any_table(record), None, 0)
    for path in sorted(pathlib.Path(kept).glob('*/records.jsonl.xz'))
    for record in files.read(path)
  ]
  by_identity = {}
  for each in found:
    if specs.comparable(each.record['versions']['xdomain']):
      key = identity(each.record['config'], each.record['hyper'])
      by_identity.setdefault(key, []).append(each)
  return by_identity


def _of_any_table(record):
  return {n: v for n, v in record.items() if n not in ('row', 'column')}


def find(there, config, digest, measures=()) -> Found | None:
  """The record of a config with a seed, if there is one.

  Args:
    there: an `archive`.
    config: of one run.
    digest: of its data; None where that is not here, and then the record must
      be of the same place.
    measures: one that can be made `complete` by these is preferred.
  """

  def same(record):
    if digest is None:
      return sources.agrees(record['config']['data'], specs.plain(config)['data'])
    return record['hashes']['data'] == digest

  found = [
    each for each in there.get(identity(config, config.hyper), ()) if same(each.record)
  ]
  return min(found, key=lambda each: not _suffices(each, measures), default=None)


def _suffices(found, measures):
  kept = found.record.get('by_user', {})
  return found.folder is not None or set(measures) <= set(kept)


def together(configs) -> list:
  """Fewer configs for the same runs: what differs in `hyper` alone is swept."""
  groups = {}
  for config in configs:
    plain = specs.plain(config)
    same = {n: v for n, v in plain.items() if n not in ('hyper', 'name')}
    groups.setdefault(json.dumps(same, sort_keys=True), []).append(config)
  return [
    group[0]
    if len(group) == 1
    else specs.replaced(group[0], sweep=dict(members=tuple(c.hyper for c in group)))
    for group in groups.values()
  ]


def complete(found: Found, measures) -> dict:
  """The record with what each user came to by each measure, `by_user`.

  Sums over a user's questions, and how many they were (`n`): of squared errors
  for 'rmse', of absolute ones for 'mae', else of the measure.
  """
  kept = found.record.get('by_user', {})
  nothing = found.folder is None or found.record['failed']
  if nothing or set(measures) <= set(kept):
    wanted = {name: kept[name] for name in ('n', *measures) if name in kept}
    return found.record | ({'by_user': wanted} if wanted else {})
  with np.load(found.folder / 'test.npz') as arrays:
    test = {name: x[found.member] if x.ndim > 1 else x for name, x in arrays.items()}
  n = np.bincount(test['user'])
  sums = {name: np.bincount(test['user'], _each(test, name)) for name in measures}
  by_user = {'n': n.tolist()} | {
    name: [float(f'{value:.3g}') for value in x] for name, x in sums.items()
  }
  return found.record | {'by_user': by_user}


def _each(test, measure):
  """`[Q]` what each question came to."""
  if measure in ('rmse', 'mae'):
    return np.abs(test['rating'] - test['truth']) ** (1 + (measure == 'rmse'))
  kind, name = measure.split(' ')
  return rankings.gains(test[kind])[:, rankings.names().index(name)]


def value(record, measure) -> float | None:
  """The measure of a record's test; None where the run has failed."""
  if record['failed']:
    return None
  test = record['test']
  for name in measure.split(' '):
    test = test[name]
  return test
