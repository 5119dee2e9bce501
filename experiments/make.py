"""A table config -> its missing runs -> the table, its plot and its records."""

import collections
import functools
import json
import pathlib

import jax
import numpy as np

from experiments import arguments, cells, layout, search, sweep
from xdomain import files
from xdomain.data import cache, sources, types
from xdomain.runs import prepare, protocols, run, store
from xdomain.runs import spec as specs
from xdomain.training import loop


def table(config, workdir, out, display, seconds=15.0) -> None:
  """Fills a table's cells, prints it, and writes it to its folder.

  Args:
    config: of a table.
    workdir: of run folders.
    out: the folder of its folder.
    display: where it is shown.
    seconds: between checkpoints of runs.
  """
  folder = pathlib.Path(out) / config.name
  digests, missing = _data(config, display)
  if missing and config.data.kind.startswith('tables') and not folder.exists():
    raise types.DataError(missing[0])
  wanted = cells.of(config)
  _check_kept(config, wanted, digests, folder)
  if config.tune:
    make = functools.partial(_search, workdir=workdir, display=display)
    wanted = _tuned(config, wanted, digests, folder, make)
  there = cells.archive(workdir, out)
  todo = []
  for config_of_cell in wanted.values():
    digest = digests[_key(config_of_cell.data)]
    for seed in config.seeds:
      of_seed = specs.replaced(config_of_cell, seed=seed)
      if digest and not cells.find(there, of_seed, digest):
        todo.append(of_seed)
  if todo:
    _train(todo, workdir, display, seconds)
    there = cells.archive(workdir, out)
  found = _collect(config, wanted, there, digests)
  layout.write(config, found, missing, folder)
  display.say((folder / 'table.md').read_text('utf-8'))
  display.say(f'{folder} holds it, the plot and the records')


def _check_kept(config, wanted, digests, folder):
  """Refuses to write over records that this table would not hold."""
  for record in files.read(folder / 'records.jsonl.xz'):
    place, seed = (record['row'], record['column']), record['seed']
    what = f'{record["row"]} of {record["column"]}, seed {seed}'
    if place in wanted and seed in config.seeds:
      digest = digests[_key(wanted[place].data)]
      if digest in (None, record['hashes']['data']):
        continue
      what += ', on other data'
    raise specs.SpecError(
      f'{folder} holds {what}, which this table would lose: give it another'
      f' name, such as --config.name={config.name}_2, or delete the folder'
    )


def _key(data):
  return json.dumps(data, sort_keys=True, default=str)


def _data(config, display):
  """Hashes of all data, None of what is not here, and why that is."""
  digests, missing = {}, []
  for cell in cells.of(config).values():
    key = _key(cell.data)
    if key in digests:
      continue
    try:
      dataset = sources.dataset(say=display.say, **cell.data)
      digests[key] = cache.digest(dataset)
      display.data(dataset)
    except types.DataError as error:
      digests[key] = None
      missing.append(str(error))
      display.say(f'not here: {error}')
  return digests, missing


def _train(todo, workdir, display, seconds):
  """Runs configs, those on the same split one after another."""
  pathlib.Path(workdir).mkdir(parents=True, exist_ok=True)
  groups = cells.together(todo)
  groups.sort(key=_split_of)
  prepared, at = None, None
  for part, config in enumerate(groups):
    if at is None or not specs.same_split(config, at):
      prepared, at = prepare.prepare(config, lambda line: None), config
    for each, data in sweep.parts(config, [prepared], workdir):
      value = protocols.of(each).value
      title = f'{each.name} seed {each.seed}'
      folder = store.folder_of(each, workdir)
      try:
        with display.training(title, value, part, len(groups)) as watch:
          run.run(each, data, folder, watch=watch, seconds=seconds)
      except loop.Diverged as error:
        display.say(f'{title}: {error}')
    jax.clear_caches()  # A process can hold only so many compiled programs.


def _split_of(config):
  plain = specs.plain(config)
  return json.dumps([plain[name] for name in specs.SPLIT], sort_keys=True)


# --- Tuning -----------------------------------------------------------------


def _tuned(table, wanted, digests, folder, make):
  """The cells with what a search has chosen for their row on their data.

  A row is searched on the first of the columns that share data, but for what
  columns set themselves.

  Args:
    table: the config.
    wanted: its cells.
    digests: of their data.
    folder: of the table, with the searches there are.
    make: makes one that is missing.
  """
  there = files.read(folder / 'search.jsonl')
  found, tuned = {}, {}
  for (row, column), cell in wanted.items():
    place = row, _key(cell.data)
    if place not in found:
      config, digest = cells.as_searched(table, row, cell), digests[place[1]]
      of = dict(row=row, column=column, config=search.plain(config))
      found[place] = _choice(of, there, digest)
      if digest and not found[place] and not search.is_empty(config):
        found[place] = of | make(config)
        there.append(found[place])
        lines = ''.join(map(files.line, there))
        files.write(folder / 'search.jsonl', lines)
    best = found[place]
    tuned[row, column] = search.apply(cell, best) if best else cell
  return tuned


def _search(config, workdir, display):
  prepared = prepare.prepare(config, lambda line: None)
  return search.search(config, prepared, workdir, display)


def _choice(of, there, digest):
  """The same search, made before on the data, or on its place."""
  for each in there:
    place = sources.agrees(each['config']['data'], of['config']['data'])
    if digest:
      place = each['hashes']['data'] == digest
    settings = each['config'] | dict(data=of['config']['data'])
    same = settings == of['config'] and specs.comparable(each['version'])
    if place and same and all(each[x] == of[x] for x in ('row', 'column')):
      return each
  return None


# --- What came of it --------------------------------------------------------


def _collect(config, wanted, there, digests):
  """`{(row, column): records}`, of the seeds there are."""
  found = {}
  for (row, column), cell in wanted.items():
    digest = digests[_key(cell.data)]
    of_seeds = [
      cells.find(there, specs.replaced(cell, seed=seed), digest, config.measures)
      for seed in config.seeds
    ]
    found[row, column] = [
      cells.complete(each, config.measures) for each in of_seeds if each
    ]
  return found


# --- What there is ----------------------------------------------------------


def overview(workdir, out, config=None) -> list[dict[str, str]]:
  """A row a table: how much of it there is, and how long the rest takes.

  Args:
    workdir: where run folders are.
    out: where the folders of tables are.
    config: of one table; without, those of all of them on their default data.
  """
  there = cells.archive(workdir, out)
  records = [found[0].record for found in there.values()]
  members = collections.Counter(record['time'] for record in records)
  seconds = {}
  for record in records:
    of = record['config']['method'], record['config']['data']['kind']
    share = record['seconds'] / members[record['time']]
    seconds.setdefault(of, []).append(share)
  rows = []
  for name, each in _tables() if config is None else [(config.name, config)]:
    state = dict.fromkeys(('runs', 'missing', 'hours', 'data'), '')
    if 'methods' in each:
      state = _state(each, there, pathlib.Path(out) / each.name, seconds)
    rows.append({'table': name} | state)
  return rows


def _tables():
  """`(file, config)` of all tables of this repository."""
  root = pathlib.Path(__file__).parents[1]
  for path in sorted(root.glob('configs/[a-z]*_*.py')):
    config = arguments.load(str(path))
    if 'method' not in config:
      yield str(path.relative_to(root)), config


def _state(config, there, folder, seconds):
  """Of a table on its default data, which is not read for it."""
  wanted = cells.of(config)
  if config.tune:
    unread = {_key(cell.data): None for cell in wanted.values()}
    wanted = _tuned(config, wanted, unread, folder, None)
  runs = [
    specs.replaced(cell, seed=seed) for cell in wanted.values() for seed in config.seeds
  ]
  todo = [each for each in runs if not cells.find(there, each, None)]
  of = [(each.method, each.data['kind']) for each in todo]
  known = [np.median(seconds[each]) for each in of if each in seconds]
  return {
    'runs': str(len(runs)),
    'missing': str(len(todo)),
    'hours': f'{sum(known) / 3600:.1f}' if len(known) == len(todo) else '?',
    'data': ', '.join(sorted({str(cell.data['kind']) for cell in wanted.values()})),
  }
