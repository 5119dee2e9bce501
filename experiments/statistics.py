"""A config of data sets -> a table of their sizes, beside the paper's."""

import csv
import io
import pathlib

from experiments import layout
from xdomain import files
from xdomain.data import describe, sources, types
from xdomain.reporting import report, typeset

COUNTS = (
  'shared_users',
  'source_items',
  'source_ratings',
  'target_items',
  'target_ratings',
)


def table(config, out, display) -> None:
  """Reads the data sets, prints the table and writes it to its folder."""
  rows, missing = [], []
  for name, data in config.data.items():
    try:
      dataset = sources.dataset(say=display.say, **data.to_dict())
      rows.append(_row(name, describe.counts(dataset.pair)))
    except types.DataError as error:
      missing.append(layout.not_here(str(error)))
    if name in config.paper:
      rows.append(_row(f'{name}, paper', config.paper[name].to_dict()))
  if not rows:
    raise types.DataError(missing[0])
  folder = pathlib.Path(out) / config.name
  command = f'```\npython -m experiments.table --config={config.command}\n```'
  parts = [f'# {config.title}', report.markdown(rows), *missing, command]
  files.write(folder / 'table.md', '\n\n'.join(parts) + '\n')
  files.write(folder / 'table.csv', _as_csv(rows))
  label = f'tab:{config.name}'
  files.write(folder / 'table.tex', typeset.rows(rows, config.title, label))
  display.say((folder / 'table.md').read_text('utf-8'))


def _row(name, counts):
  """Counts, and the share of cells that is empty, in percent."""
  row = {'data': name} | {
    count.replace('_', ' '): f'{counts[count]:,}' for count in COUNTS
  }
  for domain in ('source', 'target'):
    cells = counts['shared_users'] * counts[f'{domain}_items']
    empty = 100 * (1 - counts[f'{domain}_ratings'] / max(1, cells))
    row[f'{domain} empty, by the counts'] = f'{empty:.2f} %'
  return row


def _as_csv(rows):
  text = io.StringIO()
  writer = csv.DictWriter(text, rows[0], lineterminator='\n')
  writer.writeheader()
  writer.writerows(rows)
  return text.getvalue()
