"""All records there are, in run folders and in kept tables, by what decides them.

A record belongs to a spec if everything that decides it is the same: method,
settings, hyper-parameters, seed, protocol and budget, the data by its hash, and a
comparable version of this package.
"""

import json
import pathlib
from collections.abc import Collection
from typing import NamedTuple

from xdomain import models
from xdomain.data import sources
from xdomain.reporting import records as records_lib
from xdomain.runs import methods
from xdomain.runs import spec as specs


class Found(NamedTuple):
  """A record, the folder of its run where that is here, and its member there."""

  record: dict
  folder: pathlib.Path | None
  member: int


Archive = dict[str, list[Found]]  # By identity.


def read(workdir: str | pathlib.Path, kept: str | pathlib.Path) -> Archive:
  """All records of comparable versions.

  Args:
    workdir: of run folders.
    kept: of folders of tables, each with a `records.jsonl.xz`.

  Raises:
    RecordError: naming the file and the line of a damaged record.
  """
  found = [
    Found(record, path.parent, member)
    for path in sorted(pathlib.Path(workdir).glob('*-seed*/records.jsonl'))
    for member, record in enumerate(records_lib.read(path))
  ]
  found += [
    Found(_without_place(record), None, 0)
    for path in sorted(pathlib.Path(kept).glob('*/records.jsonl.xz'))
    for record in records_lib.read(path)
  ]
  by_identity = {}
  for each in found:
    if specs.comparable(each.record['versions']['xdomain']):
      key = _identity(each.record['config'], each.record['hyper'])
      by_identity.setdefault(key, []).append(each)
  return by_identity


def _without_place(record):
  return {n: v for n, v in record.items() if n not in ('row', 'column')}


def _identity(spec, hyper=None):
  """The settings that decide a record; one that it does not name has its default."""
  values = specs.identity(spec, hyper, but=('data',))
  if values['method'] in models.names():
    defaults = methods.module(values['method']).Hyper()._asdict()
    values['hyper'] = defaults | values['hyper']
    values['model'] = methods.settings(values['method']) | values['model']
  return json.dumps(values, sort_keys=True)


def find(
  archive: Archive,
  spec: specs.Spec,
  digest: str | None,
  measures: Collection[str] = (),
) -> Found | None:
  """The record of a spec of one seed, if there is one.

  Args:
    archive: of all records.
    spec: of one run.
    digest: of its data. None if the data is not here; then the record must name
      the same data.
    measures: a record with the sums of each user for these is preferred.
  """

  def same_data(record):
    if digest is None:
      return sources.agrees(record['config']['data'], specs.plain(spec)['data'])
    return record['hashes']['data'] == digest

  found = [e for e in archive.get(_identity(spec), ()) if same_data(e.record)]
  return min(found, key=lambda each: not _suffices(each, measures), default=None)


def _suffices(found, measures):
  kept = found.record.get('by_user', {})
  return found.folder is not None or set(measures) <= kept.keys()
