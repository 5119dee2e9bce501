"""A table's records -> its folder: text, plot, and the records themselves."""

import collections
import dataclasses
import pathlib
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from xdomain import files
from xdomain.data.readers import download
from xdomain.evaluation import lists
from xdomain.reporting import grids, plots, render, table_config


def grid_of(config: table_config.Table, found: grids.Found) -> grids.Grid:
  """The grid of a table.

  Where the columns are an axis (`x_label`), they become the rows of the grid, so
  that the values of the axis are compared with each other.
  """
  rows, heads = config.rows, config.columns
  if config.x_label:
    rows, heads = heads, rows
    found = {(column, row): records for (row, column), records in found.items()}
  return grids.of_records(rows, heads, config.measures, found, config.paper)


def write(
  config: table_config.Table,
  found: grids.Found,
  notes: Sequence[str],
  folder: pathlib.Path,
  say: Callable[[str], None],
) -> None:
  """Writes a table to its folder.

  Args:
    config: of the table.
    found: records by (row, column).
    notes: for each data set what its audit found, or why it is not here.
    folder: of the table.
    say: called with a line if there can be no plot.
  """
  grid = grid_of(config, found)
  records = [
    {'row': row, 'column': column} | record
    for (row, column), group in found.items()
    for record in group
  ]
  if records:
    files.write(folder / 'records.jsonl.xz', ''.join(map(files.line, records)))
  if any(cell.values for cell in grid.cells.values()):
    plots.save(lambda: plots.of_table(config, grid), folder, say)
  files.write(folder / 'table.csv', grids.as_csv(grid))
  label = f'tab:{config.name}'
  files.write(folder / 'table.tex', grids.latex(grid, config.title, label))
  files.write(folder / 'table.md', _markdown(config, grid, records, notes))


# --- Text -------------------------------------------------------------------


def _markdown(config, grid, records, notes):
  """The table with what a reader needs in order to trust it."""
  first, *others = [grids.markdown(each) for each in _parts(grid)]
  parts = [f'# {config.title}', config.note, _left_out(config), first]
  parts += ['At every cut-off:', *others] if others else []
  if records:
    parts += [grids.legend(grid), *_differences(grid), *_beside(config, records)]
    parts += [_incomplete(config, records), _about(records)]
  parts += [*notes, f'```\n{_command(config)}\n```']
  return '\n\n'.join(filter(None, parts)) + '\n'


def _left_out(config):
  """A sentence about the rows that the plain command has and this table has not."""
  names = [row for row in config.plain.get('rows', ()) if row not in config.rows]
  return f'Left out: {", ".join(names)}.' if names else ''


def _parts(grid):
  """The grid, split into three where it has several cut-offs.

  The first has all measures at 10, the others all cut-offs among sampled
  candidates and in the full catalogue; empty columns are left out.
  """
  names = [column.name for column in grid.columns]
  groups = [
    [name for name in names if ('full ' in name) == full] for full in (False, True)
  ]
  groups = [group for group in groups if grid.filled.intersection(group)]
  shown = [name for group in groups for name in group]
  at_10 = [name for name in shown if name.endswith('@10')]
  parts = [at_10, *groups] if at_10 and at_10 != shown else [shown]
  return [grid.only(part) for part in parts if part]


def _differences(grid) -> list[str]:
  """Differences of the rows from the best one, beyond the p-values of the marks."""
  found = grids.gaps(grid)
  if not found:
    return []
  return [
    'Differences to the best row: with the 95 % interval and p over users and seeds'
    " together (hierarchical bootstrap, not corrected), the effect size (Cohen's d of"
    ' paired differences) and the smallest difference that the test would have found'
    ' with a probability of .8:',
    found,
  ]


def _beside(config, records) -> list[str]:
  """The cost of each row and, of rankings, measures of its lists beside the hits."""
  rows, beyond = [], {}
  for name in config.rows:
    mine = [record for record in records if record['row'] == name]
    if not mine:
      continue
    shared = collections.Counter(record['time'] for record in records)
    seconds = [record['seconds'] / shared[record['time']] for record in mine]
    rows.append(
      {'method': name}
      | {'seconds': f'{np.median(seconds):.1f}'}
      | {
        title: _median(mine, field, unit)
        for title, field, unit in (
          ('peak memory (MB)', 'peak_memory', 2**20),
          ('energy (J)', 'energy', 1),
        )
      }
    )
    found = [r['test']['beyond'] for r in mine if 'beyond' in r.get('test', {})]
    if found:
      beyond[name] = {
        measure: '-' if None in values else f'{np.mean(values):.4f}'
        for measure in lists.BEYOND
        for values in [[each[measure] for each in found]]
      }
  parts = []
  if rows:
    parts += ['Cost of a run, the median over runs:', render.markdown(rows)]
  if beyond:
    parts += [
      'Beyond accuracy, of lists of ten items, means over runs:',
      render.markdown([{'method': name} | of_row for name, of_row in beyond.items()]),
    ]
  return parts


def _median(records, field, unit):
  values = [record[field] for record in records if record.get(field) is not None]
  return f'{np.median(values) / unit:,.0f}' if values else 'not measured'


def _incomplete(config, records):
  """A sentence about cells without runs of every seed, or with failed runs."""
  places = [(record['row'], record['column']) for record in records]
  counts = collections.Counter(places)
  failed = collections.Counter(
    place for place, record in zip(places, records) if record['failed']
  )
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
  """A sentence about seeds, time, devices and versions of the runs."""

  def different(name):
    return ', '.join(sorted({str(name(record)) for record in records}))

  seeds = different(lambda r: r['seed'])
  devices = different(lambda r: ' '.join(dict.fromkeys(r['device'].split())))
  versions = different(lambda r: f'jax {r["versions"]["jax"]}')
  revisions = different(lambda r: r.get('git'))
  # The members of one run share its time, and its seconds are those of all.
  hours = sum({r['time']: r['seconds'] for r in records}.values()) / 3600
  return (
    f'{len(records)} runs with seeds {seeds}; {hours:.1f} hours of training on'
    f' {devices} with {versions}; revisions of the code: {revisions}.'
  )


def not_here(reason: str) -> str:
  """A sentence about missing data, the same on every machine."""
  return f'Not here: {reason}'.replace(str(download.cache_dir()), '$XDOMAIN_DATA')


def _command(config):
  """The command that makes the table, with every changed field as a flag."""
  changed = _changed(dataclasses.asdict(config), config.plain, '--config')
  words = [f'python -m experiments.table --config={config.command}', *changed]
  return ' \\\n  '.join(words)


def _changed(config: Mapping, plain: Mapping, flag: str) -> Iterator[str]:
  """Flags of the fields whose values differ from those of the plain command."""
  for name, value in sorted(plain.items()):
    if isinstance(value, dict):
      yield from _changed(config[name], value, f'{flag}.{name}')
    elif config[name] != value:
      yield shlex.quote(f'{flag}.{name}={config[name]}')
