"""The config of a table -> its cells -> the missing runs -> its folder."""

import collections
import dataclasses
import json
import pathlib
from collections.abc import Callable, Collection, Iterable
from typing import Any

import jax
import numpy as np

from xdomain import files, wording
from xdomain.data import audit, cache, sources, types
from xdomain.reporting import grids, render, report, table_config, terminal
from xdomain.reporting import records as records_lib
from xdomain.runs import archive as archives
from xdomain.runs import prepare, protocols, store, sweeps, tune
from xdomain.runs import spec as specs
from xdomain.training import loop

Cells = dict[tuple[str, str], specs.Spec]  # By row and column, without a seed.
Runs = dict[tuple[str, str, int], specs.Spec]  # By row, column and seed.
Digests = dict[str, str | None]  # Of each data set, None if it is not here.
PROGRAMS = 20  # Runs between which compiled programs are kept in memory.


def cells(table: table_config.Table) -> Cells:
  """The spec of each cell: its row's method on the terms of its column.

  Raises:
    SpecError: a row, column, measure or seed is unknown or listed twice.
  """
  fields: dict[str, Collection[Any]] = {
    'rows': table.methods,
    'columns': table.on,
    'measures': (*records_lib.ERRORS, *records_lib.RANKED, *records_lib.LISTS),
    'seeds': table.seeds,
  }
  for field, known in fields.items():
    if not (names := getattr(table, field)):
      raise specs.SpecError(f'{field} is empty')
    for name in names:
      if name not in known:
        raise specs.SpecError(f'{field} names {name!r}{wording.instead(name, known)}')
      if names.count(name) > 1:
        raise specs.SpecError(f'{field} names {name!r} more than once')
  return {
    (row, column): _cell(table, row, column)
    for row in table.rows
    for column in table.columns
  }


def _cell(table, row, column):
  terms = dict(table.on[column]['terms'])
  data = terms.pop('data', None) or table.data
  spec = specs.from_config(table.methods[row])
  fixed = _set_by_columns(table)
  search = {
    field: {
      name: values
      for name, values in getattr(spec.search, field).items()
      if (field, name) not in fixed
    }
    for field in ('hyper', 'model')
  }
  search = dataclasses.replace(spec.search, **search)
  spec = dataclasses.replace(spec, data=data, search=search)
  return specs.replaced(spec, **terms)


def _set_by_columns(table):
  """The fields that columns set, such as ('hyper', 'beta'); no search chooses them."""
  return {
    (field, name)
    for column in table.on.values()
    for field in ('hyper', 'model')
    for name in column['terms'].get(field, ())
  }


# --- From a config to its table ---------------------------------------------


def fill(
  config: table_config.Table,
  workdir: str | pathlib.Path,
  out: str | pathlib.Path,
  display: terminal.Terminal,
  seconds: float = 15.0,
) -> None:
  """Trains the missing runs of a table, prints it, and writes it to its folder.

  Args:
    config: of the table.
    workdir: of run folders.
    out: in which the table has its folder.
    display: shows progress and the table.
    seconds: between checkpoints of runs.

  Raises:
    SpecError: a field is wrong, or records in the folder would be lost.
    DataError: own files cannot be read, and no table was made of them before.
  """
  workdir, folder = pathlib.Path(workdir), pathlib.Path(out) / config.name
  wanted = cells(config)
  digests, missing, audits = _digests(wanted, display)
  if missing and config.data['kind'].startswith('tables') and not folder.exists():
    raise types.DataError(missing[0])
  _check_kept(config, wanted, digests, folder)
  runs, searches = _runs(config, wanted), []
  if config.tune:
    runs, searches = _tuned(
      *(config, runs, digests, folder),
      lambda spec: tune.search(
        spec, _prepared_to_search(spec, config.seeds), workdir, display
      ),
    )
  archive = archives.read(workdir, out)
  todo = [
    spec
    for spec in runs.values()
    if (digest := digests[_key(spec.data)]) and not archives.find(archive, spec, digest)
  ]
  if todo:
    _train(todo, workdir, display, seconds)
    archive = archives.read(workdir, out)
  found = _collect(config, runs, archive, digests)
  notes = [*_about(searches), *audits, *map(report.not_here, missing)]
  report.write(config, found, notes, folder, display.say)
  display.say((folder / 'table.md').read_text('utf-8'))
  display.say(f'written to {folder}')


def _about(searches) -> list[str]:
  """Parts of the table's text that state the budget and choices of each row."""
  by_row = {}
  for search in searches:
    by_row.setdefault(search['row'], []).append(search)
  if not by_row:
    return []
  rows = [{'method': row} | tune.over_seeds(found) for row, found in by_row.items()]
  return [
    'The searches of each row, on validation data alone; the minutes are CPU time, of'
    ' all its searches together:',
    render.markdown(rows),
  ]


def _key(data):
  return json.dumps(data, sort_keys=True, default=str)


def _digests(wanted, display) -> tuple[Digests, list[str], list[str]]:
  """The hash of each data set, the reason for each that is not here, and audits."""
  digests, missing, audits = {}, [], []
  for spec in wanted.values():
    key = _key(spec.data)
    if key in digests:
      continue
    try:
      dataset = sources.dataset(say=display.say, **spec.data)
      digests[key] = cache.digest(dataset)
      display.data(dataset)
      found = audit.summary(dataset)
      audits.append(f'{found[0].upper()}{found[1:]} ({dataset.name}).')
    except types.DataError as error:
      digests[key] = None
      missing.append(str(error))
      display.say(f'not here: {error}')
  return digests, missing, list(dict.fromkeys(audits))


def _check_kept(config, wanted, digests, folder):
  """Refuses to replace records that this table would not hold."""
  for record in records_lib.read_table(folder / 'records.jsonl.xz'):
    place, seed = (record['row'], record['column']), record['seed']
    what = f'{record["row"]} of {record["column"]}, seed {seed}'
    if place in wanted and seed in config.seeds:
      digest = digests[_key(wanted[place].data)]
      if digest in (None, record['hashes']['data']):
        continue
      what += ', on other data'
    raise specs.SpecError(
      f'{folder} holds {what}, which this table would lose; give it another name,'
      f' such as name={config.name}_2, or delete the folder'
    )


def _runs(config: table_config.Table, wanted: Cells) -> Runs:
  """The spec of each run of a table."""
  return {
    (*place, seed): specs.replaced(spec, seed=seed)
    for place, spec in wanted.items()
    for seed in config.seeds
  }


def _train(todo, workdir, display, seconds):
  """Trains specs, those on the same split one after another."""
  workdir.mkdir(parents=True, exist_ok=True)
  groups = sorted(together(todo), key=_split_key)
  data, at = [], groups[0]
  for part, spec in enumerate(groups):
    if not data or not specs.same_split(spec, at):
      data, at = [prepare.prepare(spec, lambda line: None)], spec
    for each, several in sweeps.parts(spec, data, workdir):
      title = f'{each.name} seed {each.seed}'
      place = each, several, store.folder_of(each, workdir), display
      try:
        sweeps.run_shown(*place, part, len(groups), title=title, seconds=seconds)
      except loop.Diverged as error:
        display.say(f'{title}: {error}')
    if part % PROGRAMS == PROGRAMS - 1:
      jax.clear_caches()  # A process can hold only so many compiled programs.


def _split_key(spec):
  plain = specs.plain(spec)
  return json.dumps([plain[name] for name in specs.SPLIT], sort_keys=True)


def together(todo: Iterable[specs.Spec]) -> list[specs.Spec]:
  """Fewer specs for the same runs: those that differ in `hyper` become a sweep."""
  groups = {}
  for spec in todo:
    plain = specs.plain(spec)
    same = {n: v for n, v in plain.items() if n not in ('hyper', 'name')}
    groups.setdefault(json.dumps(same, sort_keys=True), []).append(spec)
  return [
    group[0]
    if len(group) == 1
    else specs.replaced(group[0], sweep=dict(members=tuple(s.hyper for s in group)))
    for group in groups.values()
  ]


def _collect(config, runs, archive, digests) -> grids.Found:
  """The records of each cell, one for each seed that has one."""
  measures, cells = config.measures, {}
  for (row, column, _), spec in runs.items():
    records = cells.setdefault((row, column), [])
    if found := archives.find(archive, spec, digests[_key(spec.data)], measures):
      records.append(records_lib.with_user_sums(*found, measures))
  return cells


# --- Tuning -----------------------------------------------------------------


def _tuned(
  config: table_config.Table,
  runs: Runs,
  digests: Digests,
  folder: pathlib.Path,
  search: Callable[[specs.Spec], dict] | None = None,
) -> tuple[Runs, list[dict]]:
  """The runs with the settings that a search chose, and the searches.

  Ratings are searched on the split of each seed; rankings once, on data that no seed
  tests on. A row is searched on the first of the columns that share data and split,
  except for what columns set. Without `search`, missing searches are not made.
  """
  path = folder / 'search.jsonl'
  kept = read_searches(path)
  found, tuned = {}, {}
  for (row, column, seed), spec in runs.items():
    of: dict[str, Any] = dict(row=row, column=column)
    if protocols.of(spec).rates:
      on_split = tune.on_seed(spec, seed, config.seeds)
    else:
      on_split = specs.replaced(spec, seed=config.seeds[0])
      of['apart'] = list(config.seeds)
    place, digest = (row, _split_key(on_split)), digests[_key(spec.data)]
    if place not in found:
      searched = as_searched(config, row, on_split)
      of['config'] = tune.plain(searched)
      found[place] = _kept_search(kept, of, digest)
      if search and digest and not found[place] and not tune.is_empty(searched):
        found[place] = of | search(searched)
        kept.append(found[place])
        files.write(path, ''.join(map(files.line, kept)))
    best = found[place]
    tuned[row, column, seed] = tune.apply(spec, best) if best else spec
  return tuned, [search for search in found.values() if search]


def _prepared_to_search(spec, seeds):
  """The data of a search: the split of its seed, or for rankings one without tests."""

  def say(line):
    del line

  if protocols.of(spec).rates:
    return prepare.prepare(spec, say)
  return prepare.prepare_apart(spec, seeds, say)


def as_searched(table: table_config.Table, row: str, cell: specs.Spec) -> specs.Spec:
  """A cell with its row's own values of everything that columns set."""
  own = {'hyper': {}, 'model': {}}
  for field, name in _set_by_columns(table):
    own[field][name] = table.methods[row][field][name]
  return specs.replaced(cell, **own)


def read_searches(path: pathlib.Path) -> list[dict]:
  """The searches of a table, one a line.

  Raises:
    DamagedFile: naming the file and the line that is not a search.
  """
  found = files.read(path)
  for number, search in enumerate(found, 1):
    fault = tune.fault_of(search)
    fault = fault or next(
      (f'{n!r} is missing' for n in ('row', 'column') if n not in search), ''
    )
    if fault:
      raise files.DamagedFile(f'{path}, line {number} is not a search: {fault}')
  return found


def _kept_search(kept: list[dict], of: dict, digest: str | None) -> dict | None:
  """The same search, if it was made before on the data, or on data of its name."""
  for search in kept:
    same_data = sources.agrees(search['config']['data'], of['config']['data'])
    if digest:
      same_data = search['hashes']['data'] == digest
    settings = search['config'] | dict(data=of['config']['data'])
    if (
      same_data
      and settings == of['config']
      and specs.comparable(search['version'])
      and all(search.get(name) == of.get(name) for name in ('row', 'column', 'apart'))
    ):
      return search
  return None


# --- What exists ------------------------------------------------------------


def overview(
  tables: Iterable[tuple[str, table_config.Table | None]],
  workdir: str | pathlib.Path,
  out: str | pathlib.Path,
) -> list[dict[str, str]]:
  """A row a table: its runs, those that are missing, and the hours they need.

  Args:
    tables: names and tables, None for tables of data; data is not read.
    workdir: of run folders.
    out: of the folders of tables.
  """
  archive = archives.read(workdir, out)
  seconds = _seconds([found[0].record for found in archive.values()])
  rows = []
  for name, config in tables:
    state = dict.fromkeys(('runs', 'missing', 'hours', 'data'), '')
    if config:
      state = _state(config, archive, pathlib.Path(out) / config.name, seconds)
    rows.append({'table': name} | state)
  return rows


def _seconds(records):
  """Seconds of past runs by method and kind of data."""
  members = collections.Counter(record['time'] for record in records)
  seconds = {}
  for record in records:
    place = record['config']['method'], record['config']['data']['kind']
    share = record['seconds'] / members[record['time']]
    seconds.setdefault(place, []).append(share)
  return seconds


def _state(config, archive, folder, seconds):
  wanted = cells(config)
  unread = dict.fromkeys(_key(cell.data) for cell in wanted.values())
  runs = _runs(config, wanted)
  if config.tune:
    runs, _ = _tuned(config, runs, unread, folder)
  todo = [spec for spec in runs.values() if not archives.find(archive, spec, None)]
  places = [(spec.method, spec.data['kind']) for spec in todo]
  known = [np.median(seconds[place]) for place in places if place in seconds]
  return {
    'runs': str(len(runs)),
    'missing': str(len(todo)),
    'hours': f'{sum(known) / 3600:.1f}' if len(known) == len(todo) else '?',
    'data': ', '.join(sorted({cell.data['kind'] for cell in wanted.values()})),
  }
