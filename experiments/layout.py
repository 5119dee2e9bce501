"""Records in their cells -> a table, its plot and its files."""

import collections
import shlex

import numpy as np

from configs import common
from experiments import cells
from xdomain import files
from xdomain.data.readers import download
from xdomain.evaluation import significance
from xdomain.reporting import figures, report, typeset

LOWER_IS_BETTER = ('rmse', 'mae')


def grid_of(config, found) -> typeset.Grid:
  """The table with the paper's numbers and what differs beyond chance.

  Args:
    config: of a table.
    found: records by (row, column). Where the columns are an axis, they become
      the table's rows: which of them is best is what is asked.
  """
  rows, heads, paper = config.rows, config.columns, config.paper.to_dict()
  if config.x_label:
    rows, heads = heads, rows
    found = {place[::-1]: records for place, records in found.items()}
  columns, filled = [], {}
  for head in heads:
    for measure in config.measures:
      column = typeset.Column(
        name_of(measure) if len(heads) == 1 else f'{head} {name_of(measure)}',
        measure in LOWER_IS_BETTER,
      )
      columns.append(column)
      for row in rows:
        values = [cells.value(r, measure) for r in found[row, head]]
        filled[row, column.name] = typeset.Cell(
          () if None in values else tuple(values),
          paper.get(row, {}).get(head, {}).get(measure),
        )
      _mark(
        typeset.Grid(list(rows), columns, filled),
        column,
        measure,
        {row: found[row, head] for row in rows},
      )
  return typeset.Grid(list(rows), columns, filled)


def name_of(measure: str) -> str:
  """As tables show it: 'RMSE', 'HR@10' of the sampled one, 'full HR@10'."""
  return measure.upper().removeprefix('SAMPLED ').replace('FULL', 'full')


def _mark(grid, column, measure, found):
  """Gives the column's cells their p-values of no difference to the best."""
  best = grid.best(column)
  gaps = {}
  for row, records in found.items():
    if row != best and grid.cells[row, column.name].values:
      gaps[row] = _gap(records, found.get(best, ()), measure)
  gaps = {row: gap for row, gap in gaps.items() if gap is not None}
  if not gaps:
    return
  users = max(weight.size for _, weight in gaps.values())
  padded = [[np.pad(x, (0, users - x.size)) for x in gap] for gap in gaps.values()]
  difference, weight = np.stack(padded, axis=1)
  p_values = significance.paired_bootstrap(difference, weight)
  for row, p in zip(gaps, significance.holm(p_values).tolist()):
    place = row, column.name
    grid.cells[place] = grid.cells[place]._replace(p=p)


def _gap(records, others, measure):
  """Per user, sums of differences over shared seeds, and questions.

  Users are those that both were asked about; a seed has one set of them.
  """

  def by_seed(records):
    there = {each['seed']: each.get('by_user', {}) for each in records}
    return {seed: of for seed, of in there.items() if measure in of}

  ours, theirs = by_seed(records), by_seed(others)
  pairs = [
    (ours[seed], theirs[seed])
    for seed in ours
    if seed in theirs and ours[seed]['n'] == theirs[seed]['n']
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


def write(config, found, missing, folder) -> None:
  """Writes a table to its folder: text, plot and the records behind them.

  Args:
    config: of a table.
    found: records by (row, column).
    missing: why data is not here.
    folder: of the table.
  """
  grid = grid_of(config, found)
  records = [
    {'row': row, 'column': column} | record
    for (row, column), group in found.items()
    for record in group
  ]
  if records:
    lines = ''.join(map(files.line, records))
    files.write(folder / 'records.jsonl.xz', lines)
  if any(cell.values for cell in grid.cells.values()):
    figures.save(_figure(config, grid), folder / 'plot')
  files.write(folder / 'table.csv', typeset.as_csv(grid))
  label = f'tab:{config.name}'
  files.write(folder / 'table.tex', typeset.latex(grid, config.title, label))
  files.write(folder / 'table.md', _markdown(config, grid, records, missing))


def _markdown(config, grid, records, missing):
  """The table with what a reader needs to believe it."""
  parts = [f'# {config.title}', config.note]
  kinds = [typeset.markdown(each).rstrip() for each in _kinds(grid)]
  parts += [*kinds[:1], 'At every cut-off:' if kinds[1:] else '', *kinds[1:]]
  if records:
    parts += [typeset.LEGEND, _incomplete(config, records), _about(records)]
  parts += [not_here(text) for text in missing]
  parts.append(f'```\n{_command(config)}\n```')
  return '\n\n'.join(filter(None, parts)) + '\n'


def _command(config):
  """What makes the table, own files included."""
  words = [f'python -m experiments.table --config={config.command}']
  words += [
    shlex.quote(f'--config.{field}={config[field]}')
    for field, value in config.plain.items()
    if config[field] != value
  ]
  if config.data.kind.startswith('tables'):
    default = common.tables_implicit() | dict(kind=config.data.kind)
    words += [
      shlex.quote(f'--config.data.{name}={value}')
      for name, value in config.data.items()
      if value != default[name]
    ]
  return ' \\\n  '.join(words)


def not_here(error: str) -> str:
  """What is missing, for a file that is read on other machines too."""
  return f'Not here: {error}'.replace(str(download.cache_dir()), '$XDOMAIN_DATA')


def _kinds(grid):
  """The table; of several cut-offs all @10, and then sampled and full ones.

  Where nothing is sampled, or nothing full, those columns are left out.
  """
  filled = {
    name
    for (_, name), cell in grid.cells.items()
    if cell.values or cell.paper is not None
  }
  names = [column.name for column in grid.columns]
  groups = [
    [name for name in names if ('full ' in name) == full] for full in (False, True)
  ]
  groups = [group for group in groups if filled.intersection(group)]
  there = [name for group in groups for name in group]
  at_10 = [name for name in there if name.endswith('@10')]
  kinds = [at_10, *groups] if at_10 and at_10 != there else [there]
  return [
    grid._replace(columns=[c for c in grid.columns if c.name in kind])
    for kind in kinds
    if kind
  ]


def _incomplete(config, records):
  """The cells that have runs, but not of all seeds, or some that failed."""
  counts = collections.Counter((r['row'], r['column']) for r in records)
  failed = collections.Counter((r['row'], r['column']) for r in records if r['failed'])
  of_all = f'of {len(config.seeds)} seeds'
  short = [
    f'{row} ({column}) has {count} {of_all}'
    for (row, column), count in counts.items()
    if count < len(config.seeds)
  ] + [
    f'{row} ({column}) diverged on {count} {of_all} and has no number'
    for (row, column), count in failed.items()
  ]
  return f'Incomplete: {", ".join(short)}.' if short else ''


def _about(records):
  """Seeds, machines, versions and time of records, in a sentence."""

  def different(name):
    return ', '.join(sorted({str(name(record)) for record in records}))

  seeds = different(lambda r: r['seed'])
  devices = different(lambda r: ' '.join(dict.fromkeys(r['device'].split())))
  versions = different(lambda r: f'jax {r["versions"]["jax"]}')
  revisions = different(lambda r: r['git'])
  # Members of one run share its time, and its seconds are of all of them.
  hours = sum({r['time']: r['seconds'] for r in records}.values()) / 3600
  return (
    f'{len(records)} runs, seeds {seeds}, {hours:.1f} hours of training on'
    f' {devices}, {versions}, revisions {revisions}.'
  )


def _figure(config, grid):
  """Curves over numbered columns, else bars: sampled @10, or one measure."""
  if config.x_label:
    return _curves(config, grid)
  sampled = [c for c in grid.columns if 'full ' not in c.name] or grid.columns
  at_10 = [c for c in sampled if c.name.endswith('@10')]
  first = name_of(config.measures[0])  # Others have scales of their own.
  points, reference = {}, {}
  for column in at_10 or [c for c in sampled if c.name.endswith(first)]:
    for row in grid.rows:
      cell = grid.cells[row, column.name]
      if cell.values:
        point = figures.Point(column.name, *report.estimate(cell.values))
        points.setdefault(column.name, {})[row] = point
      if cell.paper is not None:
        reference.setdefault(column.name, {})[row] = cell.paper
  return figures.bars(
    points, y_label='' if at_10 else first, reference=reference or None
  )


def _curves(config, grid):
  lines = {}
  for column in grid.columns:
    for row in grid.rows:
      cell = grid.cells[row, column.name]
      if cell.values:
        x = config.on[row].x
        point = figures.Point(x, *report.estimate(cell.values))
        lines.setdefault(column.name, []).append(point)
  several = len(config.measures) > 1  # The legend says which is which.
  y_label = '' if several else name_of(config.measures[0])
  return figures.curves(lines, x_label=config.x_label, y_label=y_label)
