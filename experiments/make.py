"""A table config -> its missing runs -> the table, its plot and its records."""

import collections
import json
import pathlib

import numpy as np

from configs import common
from experiments import arguments, cells, protocols, run, search, sweep
from xdomain import figures, report, results, significance, train, typeset
from xdomain.data import download, kept, load, tables

LOWER_IS_BETTER = ('rmse', 'mae')


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
  wanted = cells.of(config)
  if config.tune:
    wanted = _tuned(wanted, digests, workdir, folder, display)
  there = cells.archive(workdir, out)
  todo = []
  for config_of_cell in wanted.values():
    digest = digests[_key(config_of_cell.data)]
    for seed in config.seeds:
      of_seed = sweep.replaced(config_of_cell, seed=seed)
      if digest and not cells.find(there, of_seed, digest):
        todo.append(of_seed)
  if todo:
    _train(todo, workdir, display, seconds)
    there = cells.archive(workdir, out)
  found = _collect(config, wanted, there, digests)
  grid = _grid(config, found)
  _write(config, grid, found, missing, folder)
  display.say((folder / 'table.md').read_text('utf-8'))
  display.say(f'{folder} holds it, the plot and the records')


def _key(data):
  return json.dumps(data.to_dict(), sort_keys=True, default=str)


def _data(config, display):
  """Hashes of all data, None of what is not here, and why that is."""
  digests, missing = {}, []
  for cell in cells.of(config).values():
    key = _key(cell.data)
    if key in digests:
      continue
    try:
      dataset = load.dataset(say=display.say, **cell.data.to_dict())
      digests[key] = kept.digest(dataset)
      display.data(dataset)
    except tables.DataError as error:
      digests[key] = None
      missing.append(str(error))
      display.say(f'not here: {error}')
  return digests, missing


def _train(todo, workdir, display, seconds):
  """Runs configs, those on the same split one after another."""
  pathlib.Path(workdir).mkdir(parents=True, exist_ok=True)
  groups = cells.together(todo)
  groups.sort(key=_same_split)
  prepared, at = None, None
  for part, config in enumerate(groups):
    if _same_split(config) != at:
      prepared, at = run.prepare(config, lambda line: None), _same_split(config)
    for each in sweep.parts(config, prepared):
      value = protocols.of(each).value
      title = f'{each.name} seed {each.seed}'
      folder = run.folder_of(each, workdir)
      try:
        with display.training(title, value, part, len(groups)) as watch:
          run.run(each, prepared, folder, watch=watch, seconds=seconds)
      except train.Diverged as error:
        display.say(f'{title}: {error}')


def _same_split(config):
  fields = ('data', 'split', 'protocol', 'reviews', 'seed')
  plain = run.to_plain(config)
  return json.dumps([plain[name] for name in fields], sort_keys=True)


# --- Tuning -----------------------------------------------------------------


def _tuned(wanted, digests, workdir, folder, display):
  """The cells with what a search has chosen for their row on their data.

  A row is searched on the first of the columns that share data.
  """
  there = {each['of']: each for each in results.read(folder / 'search.jsonl')}
  found, tuned = {}, {}
  for (row, column), config in wanted.items():
    digest = digests[_key(config.data)]
    key = f'{row} on {digest or _key(config.data)}'
    if key not in found:
      of = json.dumps([key, _search_identity(config)])
      if of not in there and digest:
        there[of] = {'of': of, 'row': row, 'column': column} | _search(
          config, workdir, display
        )
      found[key] = there.get(of)
    tuned[row, column] = (
      search.apply(config, found[key]) if found[key] else config
    )
  lines = ''.join(results.line(each) for each in found.values() if each)
  results.write(folder / 'search.jsonl', lines)
  return tuned


def _search_identity(config):
  plain = run.to_plain(config)
  fields = ('method', 'model', 'hyper', 'epochs', 'patience', 'every')
  return [plain[name] for name in fields] + [
    json.loads(config.search.to_json_best_effort())
  ]


def _search(config, workdir, display):
  prepared = run.prepare(config, lambda line: None)
  return search.search(config, prepared, workdir, display)


# --- What came of it --------------------------------------------------------


def _collect(config, wanted, there, digests):
  """`{(row, column): records}`, of the seeds there are."""
  found = {}
  for (row, column), cell in wanted.items():
    digest = digests[_key(cell.data)]
    of_seeds = [
      cells.find(there, sweep.replaced(cell, seed=seed), digest)
      for seed in config.seeds
    ]
    found[row, column] = [
      cells.complete(each, config.measures) for each in of_seeds if each
    ]
  return found


def _grid(config, found):
  """The table with the paper's numbers and what differs beyond chance."""
  columns = {}
  for column in config.columns:
    for measure in config.measures:
      name = f'{column} {_name(measure)}'
      if len(config.columns) == 1:
        name = _name(measure)
      columns[column, measure] = typeset.Column(
        name, measure in LOWER_IS_BETTER
      )
  filled = {}
  for (column, measure), shown in columns.items():
    for row in config.rows:
      values = [cells.value(r, measure) for r in found[row, column]]
      filled[row, shown.name] = typeset.Cell(
        () if None in values else tuple(values),
        _in_paper(config, row, column, measure),
      )
  grid = typeset.Grid(list(config.rows), list(columns.values()), filled)
  for (column, measure), shown in columns.items():
    for row, p in _against_best(grid, shown, measure, column, found):
      filled[row, shown.name] = filled[row, shown.name]._replace(p=p)
  return grid


def _name(measure):
  return measure.upper().removeprefix('SAMPLED ').replace('FULL', 'full')


def _in_paper(config, row, column, measure):
  at = config.paper.to_dict()
  for name in (row, column, measure):
    at = at.get(name, {})
  return at or None


def _against_best(grid, shown, measure, column, found):
  """Rows and their p-values of no difference to the best, adjusted."""
  best = grid.best(shown)
  if best is None:
    return []
  gaps = {}
  for row in grid.rows:
    gap = _gap(found[row, column], found[best, column], measure)
    if row != best and grid.cells[row, shown.name].values and gap is not None:
      gaps[row] = gap
  if not gaps:
    return []
  users = max(weight.size for _, weight in gaps.values())
  padded = [
    [np.pad(x, (0, users - x.size)) for x in gap] for gap in gaps.values()
  ]
  difference, weight = np.stack(padded, axis=1)
  p_values = significance.paired_bootstrap(difference, weight)
  return zip(gaps, significance.holm(p_values).tolist())


def _gap(records, others, measure):
  """Per user, sums of differences over shared splits, and questions."""
  by_split = {
    r['hashes']['split']: r['by_user']
    for r in others
    if measure in r.get('by_user', {})
  }
  pairs = [
    (record['by_user'], by_split[record['hashes']['split']])
    for record in records
    if measure in record.get('by_user', {})
    and record['hashes']['split'] in by_split
  ]
  if not pairs:
    return None
  users = max(len(one['n']) for one, _ in pairs)
  gap, weight = np.zeros(users), np.zeros(users)
  for one, other in pairs:
    n = len(one['n'])
    gap[:n] += np.subtract(one[measure], other[measure])
    weight[:n] += one['n']
  return gap, weight


def _write(config, grid, found, missing, folder):
  """Everything that is committed of a table."""
  records = [
    {'row': row, 'column': column} | record
    for (row, column), group in found.items()
    for record in group
  ]
  if records:
    lines = ''.join(map(results.line, records))
    results.write(folder / 'records.jsonl.xz', lines)
    figures.save(_figure(config, grid), folder / 'plot')
  results.write(folder / 'table.csv', typeset.as_csv(grid))
  label = f'tab:{config.name}'
  results.write(folder / 'table.tex', typeset.latex(grid, config.title, label))
  results.write(folder / 'table.md', _markdown(config, grid, records, missing))


def _markdown(config, grid, records, missing):
  """The table with what a reader needs to believe it."""
  parts = [f'# {config.title}', config.note]
  for kind in _kinds(grid):
    parts.append(typeset.markdown(kind).rstrip())
  if records:
    parts += [typeset.LEGEND, _incomplete(config, records), _about(records)]
  parts += [not_here(text) for text in missing]
  parts.append(f'```\n{_command(config)}\n```')
  return '\n\n'.join(filter(None, parts)) + '\n'


def _command(config):
  """What makes the table, own files included."""
  words = [f'python -m experiments.table --config={config.command}']
  if config.data.kind.startswith('tables'):
    default = common.tables_implicit() | dict(kind=config.data.kind)
    words.append(f'--config.name={config.name}')
    words += [
      f'--config.data.{name}={value}'
      for name, value in config.data.items()
      if value != default[name]
    ]
  return ' \\\n  '.join(words)


def not_here(error: str) -> str:
  """What is missing, for a file that is read on other machines too."""
  return f'Not here: {error}'.replace(
    str(download.cache_dir()), '$XDOMAIN_DATA'
  )


def _kinds(grid):
  """The table, or where it ranks, a sampled and a full one; none is empty."""
  kinds = [
    grid._replace(columns=[c for c in grid.columns if ('full ' in c.name) == f])
    for f in (False, True)
  ]
  return [
    kind
    for kind in kinds
    if any(
      cell.values or cell.paper is not None
      for (_, name), cell in grid.cells.items()
      if name in [column.name for column in kind.columns]
    )
  ]


def _incomplete(config, records):
  """The cells that have runs, but not of all seeds."""
  counts = collections.Counter((r['row'], r['column']) for r in records)
  short = [
    f'{row} ({column}) has {count} of {len(config.seeds)} seeds'
    for (row, column), count in counts.items()
    if count < len(config.seeds)
  ]
  return f'Incomplete: {", ".join(short)}.' if short else ''


def _about(records):
  """Seeds, machines, versions and time of records, in a sentence."""

  def different(name):
    return ', '.join(sorted({str(name(record)) for record in records}))

  seeds = different(lambda r: r['seed'])
  devices = different(lambda r: r['device'])
  versions = different(lambda r: f'jax {r["versions"]["jax"]}')
  revisions = different(lambda r: r['git'])
  hours = sum(record['seconds'] for record in records) / 3600
  return (
    f'{len(records)} runs, seeds {seeds}, {hours:.1f} hours of training on'
    f' {devices}, {versions}, revisions {revisions}.'
  )


def _figure(config, grid):
  """Curves over numbered columns, else bars."""
  if config.x_label:
    return _curves(config, grid)
  shown = [c for c in grid.columns if 'full ' not in c.name]
  at_10 = [c for c in shown if c.name.endswith('@10')]
  points, reference = {}, {}
  for column in at_10 or shown:
    for row in grid.rows:
      cell = grid.cells[row, column.name]
      if cell.values:
        point = figures.Point(column.name, *report.estimate(cell.values))
        points.setdefault(column.name, {})[row] = point
      if cell.paper is not None:
        reference.setdefault(column.name, {})[row] = cell.paper
  return figures.bars(
    points, y_label='' if at_10 else ', '.join(map(_name, config.measures)),
    reference=reference or None,
  )  # fmt: skip


def _curves(config, grid):
  lines = {}
  for column in config.columns:
    for row in grid.rows:
      for measure in config.measures:
        cell = grid.cells[row, f'{column} {_name(measure)}']
        name = _name(measure)
        name = name if len(grid.rows) == 1 else f'{row} {name}'
        if cell.values:
          point = figures.Point(
            config.on[column].x, *report.estimate(cell.values)
          )
          lines.setdefault(name, []).append(point)
  y_label = ', '.join(map(_name, config.measures))
  return figures.curves(lines, x_label=config.x_label, y_label=y_label)


# --- What there is ----------------------------------------------------------


def overview(workdir, out) -> list[dict[str, str]]:
  """A row a table: how much of it there is, and how long the rest takes."""
  there = cells.archive(workdir, out)
  seconds = {}
  for found in there.values():
    record = found[0].record
    of = record['config']['method'], record['config']['data']['kind']
    seconds.setdefault(of, []).append(record['seconds'])
  rows = []
  for path in sorted(pathlib.Path('configs').glob('[a-z]*_*.py')):
    config = arguments.load(str(path))
    if 'methods' in config:
      rows.append({'table': str(path)} | _state(config, there, seconds))
  return rows


def _state(config, there, seconds):
  """Of a table on its default data, which is not read for it."""
  runs = [
    sweep.replaced(cell, seed=seed)
    for cell in cells.of(config).values()
    for seed in config.seeds
  ]
  todo = [each for each in runs if not cells.find(there, each, None)]
  of = [(each.method, each.data.kind) for each in todo]
  known = [np.median(seconds[each]) for each in of if each in seconds]
  return {
    'runs': str(len(runs)),
    'missing': str(len(todo)),
    'hours': f'{sum(known) / 3600:.1f}' if len(known) == len(todo) else '?',
    'data': ', '.join(
      sorted({str(cell.data.kind) for cell in cells.of(config).values()})
    ),
  }
