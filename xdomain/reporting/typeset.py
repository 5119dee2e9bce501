"""A table of means over seeds -> Markdown, CSV and LaTeX."""

import csv
import io
from typing import NamedTuple

import numpy as np

from xdomain.reporting import report


class Column(NamedTuple):
  name: str
  lower_is_better: bool = False


class Cell(NamedTuple):
  """What one method came to by one measure."""

  values: tuple[float, ...] = ()  # one a seed; none where there is no run
  paper: float | None = None
  p: float | None = None  # of no difference to the best of the column, adjusted
  # for the number of such questions; None of the best itself


class Grid(NamedTuple):
  """A table: `cells` by (row, column name)."""

  rows: list[str]
  columns: list[Column]
  cells: dict[tuple[str, str], Cell]

  def best(self, column: Column) -> str | None:
    """The row with the best mean; None of an empty column."""
    means = {
      row: np.mean(self.cells[row, column.name].values)
      for row in self.rows
      if self.cells[row, column.name].values
    }
    pick = min if column.lower_is_better else max
    return pick(means, key=means.get) if means else None


SIGNIFICANT = 0.05
LEGEND = (
  'Mean over seeds ± half of the 95 % t-interval (standard deviation over'
  ' seeds); the best of a column is bold, and † marks what differs from it'
  ' beyond chance (paired bootstrap over users, Holm-corrected over the column,'
  ' p < .05).'
)


def markdown(grid: Grid) -> str:
  """Rows of methods; the paper's number stands under ours."""
  names = ['method', *(column.name for column in grid.columns)]
  best = [grid.best(column) for column in grid.columns]
  lines = [names, ['---'] * len(names)]
  for row in grid.rows:
    cells = [
      _in_markdown(grid.cells[row, column.name], bold=row == first)
      for column, first in zip(grid.columns, best)
    ]
    lines.append([row, *cells])
  return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines) + '\n'


def _in_markdown(cell, bold):
  parts = []
  if cell.values:
    mean, spread = _mean_and_spread(cell)
    parts.append(f'**{mean}**{spread}' if bold else f'{mean}{spread}')
  if cell.paper is not None:
    parts.append(f'paper {cell.paper:.4f}')
  return '<br>'.join(parts) or '-'


def _mean_and_spread(cell):
  estimate = report.estimate(cell.values)
  mark = '†' if is_marked(cell) else ''
  if estimate.low is None:
    return f'{estimate.mean:.4f}', mark
  half = estimate.high - estimate.mean
  sd = np.std(cell.values, ddof=1)
  return f'{estimate.mean:.4f}', f'{mark} ± {half:.4f} ({sd:.4f})'


def is_marked(cell: Cell) -> bool:
  """Whether it differs from the best of its column beyond chance."""
  return cell.p is not None and cell.p < SIGNIFICANT


def as_csv(grid: Grid) -> str:
  """A line a cell that holds anything, with all that is known of it."""
  text = io.StringIO()
  write = csv.writer(text, lineterminator='\n').writerow
  write(
    (
      'method',
      'column',
      'seeds',
      'mean',
      'sd',
      'low',
      'high',
      'paper',
      'best',
      'p_of_no_difference_to_best',
    )
  )
  for column in grid.columns:
    best = grid.best(column)
    for row in grid.rows:
      cell = grid.cells[row, column.name]
      if cell.values or cell.paper is not None:
        write([row, column.name, *_in_csv(cell), int(row == best), cell.p])
  return text.getvalue()


def _in_csv(cell):
  if not cell.values:
    return 0, None, None, None, None, cell.paper
  mean, low, high = report.estimate(cell.values)
  sd = np.std(cell.values, ddof=1) if len(cell.values) > 1 else None
  numbers = [None if x is None else f'{x:.6f}' for x in (mean, sd, low, high)]
  return len(cell.values), *numbers, cell.paper


def latex(grid: Grid, caption: str, label: str) -> str:
  """A `table` for booktabs; the paper's numbers in rows of their own."""
  best = [grid.best(column) for column in grid.columns]
  lines = []
  for row in grid.rows:
    cells = [grid.cells[row, column.name] for column in grid.columns]
    ours = [_in_latex(c, row == b) for c, b in zip(cells, best)]
    lines.append([_escaped(row), *ours])
    if any(cell.paper is not None for cell in cells):
      papers = ['' if c.paper is None else f'{c.paper:.4f}' for c in cells]
      lines.append([r'\quad paper', *papers])
  names = ['method', *(column.name for column in grid.columns)]
  return _booktabs(names, lines, caption, label)


def rows(rows: list[dict[str, str]], caption: str, label: str) -> str:
  """The same of rows of text that share their columns."""
  lines = [[_escaped(cell) for cell in row.values()] for row in rows]
  return _booktabs(list(rows[0]), lines, caption, label)


def _booktabs(names, lines, caption, label):
  text = [
    r'\begin{table}',
    r'\centering',
    rf'\caption{{{_escaped(caption)}}}',
    rf'\label{{{label}}}',
    rf'\begin{{tabular}}{{l{"r" * (len(names) - 1)}}}',
    r'\toprule',
    _latex_row(map(_escaped, names)),
    r'\midrule',
    *map(_latex_row, lines),
    r'\bottomrule',
    r'\end{tabular}',
    r'\end{table}',
  ]
  return '\n'.join(text) + '\n'


def _in_latex(cell, bold):
  if not cell.values:
    return '--'
  estimate = report.estimate(cell.values)
  mean = f'{estimate.mean:.4f}'
  mean = rf'\textbf{{{mean}}}' if bold else mean
  mark = r'$^\dagger$' if is_marked(cell) else ''
  if estimate.low is None:
    return mean + mark
  return rf'{mean}{mark} $\pm$ {estimate.high - estimate.mean:.4f}'


def _latex_row(cells):
  return ' & '.join(cells) + r' \\'


def _escaped(text):
  for character in '\\&%$#_{}':
    text = text.replace(character, '\\' + character)
  return text
