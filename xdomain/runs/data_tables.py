"""The config of a table of data sets -> their sizes, beside the paper's."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from xdomain import files
from xdomain.data import describe, sources, types
from xdomain.reporting import render, report, terminal

COUNTS = (
  'shared_users',
  'source_items',
  'source_ratings',
  'target_items',
  'target_ratings',
)


@dataclasses.dataclass(frozen=True)
class DataTable:
  """A table of data sets, as its config describes it."""

  name: str  # of its folder
  command: str  # of the config, with its argument
  title: str
  data: dict[str, dict[str, Any]]  # options of each data set
  paper: dict[str, dict[str, int]]  # the paper's counts, by data set


def write(
  config: DataTable,
  out: str | pathlib.Path,
  display: terminal.Terminal,
) -> None:
  """Reads the data sets, prints the table and writes it to its folder.

  Raises:
    DataError: no data set can be read, and no paper's counts are known.
  """
  rows, missing = [], []
  for name, data in config.data.items():
    try:
      dataset = sources.dataset(say=display.say, **data)
      rows.append(_row(name, describe.counts(dataset.pair)))
    except types.DataError as error:
      missing.append(report.not_here(str(error)))
    if name in config.paper:
      rows.append(_row(f'{name}, paper', config.paper[name]))
  if not rows:
    raise types.DataError(missing[0])
  folder = pathlib.Path(out) / config.name
  command = f'```\npython -m experiments.table --config={config.command}\n```'
  parts = [f'# {config.title}', render.markdown(rows), *missing, command]
  files.write(folder / 'table.md', '\n\n'.join(parts) + '\n')
  files.write(folder / 'table.csv', render.as_csv(rows))
  cells = [{name: render.escaped(text) for name, text in row.items()} for row in rows]
  text = render.latex(cells, config.title, f'tab:{config.name}')
  files.write(folder / 'table.tex', text)
  display.say((folder / 'table.md').read_text('utf-8'))


def _row(name: str, counts: Mapping[str, int]) -> dict[str, str]:
  """Counts as text, and the percentage of each domain's cells that are empty."""
  row = {'data': name} | {
    count.replace('_', ' '): f'{counts[count]:,}' for count in COUNTS
  }
  for domain in ('source', 'target'):
    cells = counts['shared_users'] * counts[f'{domain}_items']
    empty = 100 * (1 - counts[f'{domain}_ratings'] / max(1, cells))
    row[f'{domain} empty, by the counts'] = f'{empty:.2f} %'
  return row
