"""Grids: means by method and column, the paper's numbers and what is significant."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from xdomain.evaluation import power, significance
from xdomain.reporting import records as records_lib
from xdomain.reporting import render, tables


class Column(NamedTuple):
  """A column of a grid: a measure, on some data or by some setting."""

  name: str
  measure: str


class Cell(NamedTuple):
  """The result of one method in one column."""

  values: tuple[float, ...] = ()  # one a seed; none without complete runs
  paper: float | None = None
  p: float | None = None  # of no difference from the best cell of the column,
  # adjusted for the number of comparisons in it; None for the best cell
  estimate: tables.Estimate | None = None
  gap: power.Difference | None = None  # to the best cell of the column

  @property
  def sd(self) -> float | None:
    """The standard deviation over seeds."""
    return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else None

  @property
  def differs(self) -> bool:
    """Whether the cell differs from the best of its column beyond chance."""
    return self.p is not None and self.p < SIGNIFICANT


class Grid(NamedTuple):
  """Cells by (row, column name)."""

  rows: list[str]
  columns: list[Column]
  cells: dict[tuple[str, str], Cell]

  def best(self, column: Column) -> str | None:
    """The row with the best mean; None for an empty column."""
    means = {
      row: np.mean(self.cells[row, column.name].values)
      for row in self.rows
      if self.cells[row, column.name].values
    }
    pick = min if records_lib.lower_is_better(column.measure) else max
    return pick(means, key=means.__getitem__) if means else None

  def only(self, names: Sequence[str]) -> 'Grid':
    """The grid with the named columns, in its own order."""
    return self._replace(columns=[c for c in self.columns if c.name in names])

  @property
  def filled(self) -> set[str]:
    """Names of the columns with a result of ours or of a paper."""
    return {
      name
      for (_, name), cell in self.cells.items()
      if cell.values or cell.paper is not None
    }


SIGNIFICANT = 0.05
CSV = (
  *('method', 'column', 'seeds', 'mean', 'sd', 'low', 'high', 'paper', 'best'),
  'p_of_no_difference_to_best',
  *('effect_size', 'detectable', 'gap_low', 'gap_high', 'p_over_users_and_seeds'),
)
Found = Mapping[tuple[str, str], Sequence[dict]]  # Records by (row, column).


def of_records(
  rows: Sequence[str],
  heads: Sequence[str],
  measures: Sequence[str],
  found: Found,
  paper: Mapping = {},
) -> Grid:
  """A grid with a column for each head and measure.

  Args:
    rows: names of the rows.
    heads: names of the data or settings of the columns.
    measures: names of measures.
    found: records, one a seed.
    paper: a paper's numbers by row, head and measure.

  Raises:
    ValueError: two columns have the same name.
  """
  grid = Grid([*rows], [], {})
  for head in heads:
    for measure in measures:
      title = records_lib.title(measure)
      column = Column(title if len(heads) == 1 else f'{head} {title}', measure)
      if column.name in [each.name for each in grid.columns]:
        raise ValueError(f'two columns of the table have the name {column.name!r}')
      grid.columns.append(column)
      for row in rows:
        printed = paper.get(row, {}).get(head, {}).get(measure)
        grid.cells[row, column.name] = _cell(found[row, head], measure, printed)
      _add_p_values(grid, column, {row: found[row, head] for row in rows})
  for column, head in zip(grid.columns, np.repeat(heads, len(measures))):
    if column.measure == _deciding(measures):
      _add_gaps(grid, column, {row: found[row, head] for row in rows})
  return grid


def _deciding(measures) -> str:
  """The measure whose differences are looked at closely."""
  return 'full ndcg@10' if 'full ndcg@10' in measures else measures[0]


def _cell(records, measure, printed):
  values = records_lib.values(records, measure)
  if not values or len(values) < len(records):
    return Cell(paper=printed)
  return Cell(values, printed, estimate=tables.of_records(records, measure))


def _add_p_values(grid, column, found):
  """Fills in the p-values of a column by one paired bootstrap over users."""
  best = grid.best(column)
  gaps = {
    row: tables.user_gap(records, found[best], column.measure)
    for row, records in found.items()
    if row != best and grid.cells[row, column.name].values
  }
  gaps = {row: gap for row, gap in gaps.items() if gap is not None}
  if not gaps:
    return
  users = max(queries.size for _, queries in gaps.values())
  padded = [[np.pad(x, (0, users - x.size)) for x in gap] for gap in gaps.values()]
  difference, queries = np.stack(padded, axis=1)
  p_values = significance.paired_bootstrap(difference, queries)
  for row, p in zip(gaps, significance.holm(p_values).tolist()):
    place = row, column.name
    grid.cells[place] = grid.cells[place]._replace(p=p)


def _add_gaps(grid, column, found):
  best = grid.best(column)
  for row, records in found.items():
    place = row, column.name
    if row != best and grid.cells[place].values:
      gap = _gap(records, found[best], column.measure)
      grid.cells[place] = grid.cells[place]._replace(gap=gap)


def _gap(ours, theirs, measure) -> power.Difference | None:
  """The difference of two methods over their common seeds, in units of the measure."""
  gaps = tables.user_gaps(ours, theirs, measure)
  if gaps is None:
    return None
  gap = power.difference(*gaps)
  if measure == 'rmse':  # Sums are of squared errors: a difference of squares.
    means = [np.mean(records_lib.values(each, measure)) for each in (ours, theirs)]
    gap = gap._replace(
      **{
        name: getattr(gap, name) / sum(means)
        for name in ('mean', 'detectable', 'low', 'high')
      }
    )
  return gap


# --- Text -------------------------------------------------------------------


def legend(grid: Grid) -> str:
  """The sentences that explain the numbers and marks of a grid."""
  over = {cell.estimate.over for cell in grid.cells.values() if cell.estimate}
  few = ' Cells of fewer than three seeds show the 95 % interval over users instead.'
  return (
    'Cells show the mean over seeds ± half of its 95 % t-interval, with the standard'
    f' deviation over seeds in parentheses.{few if "users" in over else ""} The best'
    ' cell of a column is bold; † marks a cell that differs from it beyond chance'
    ' (paired bootstrap over users, p < .05 after Holm correction over the column).'
  )


def markdown(grid: Grid) -> str:
  """Methods as rows; the paper's number stands below ours."""
  best = {column.name: grid.best(column) for column in grid.columns}
  return render.markdown(
    [
      {'method': row}
      | {
        name: _in_markdown(grid.cells[row, name], bold=row == best[name])
        for name in best
      }
      for row in grid.rows
    ]
  )


def _in_markdown(cell, bold):
  parts = []
  if cell.estimate:
    mean, mark = f'{cell.estimate.mean:.4f}', '†' * cell.differs
    mean = f'**{mean}**' if bold else mean
    parts.append(f'{mean}{mark}{_spread(cell)}')
  if cell.paper is not None:
    parts.append(f'paper {cell.paper:.4f}')
  return '<br>'.join(parts) or '-'


def _spread(cell):
  """The text after a mean: its interval, and the deviation over seeds."""
  estimate = cell.estimate
  if estimate.half is not None:
    return f' ± {estimate.half:.4f} ({cell.sd:.4f})'
  return str(estimate).removeprefix(f'{estimate.mean:.4f}')


def as_csv(grid: Grid) -> str:
  """A line for each cell that holds anything.

  `low` and `high` are limits over users where there are fewer than three `seeds`.
  """
  lines = []
  for column in grid.columns:
    best = grid.best(column)
    for row in grid.rows:
      cell = grid.cells[row, column.name]
      if cell.values or cell.paper is not None:
        lines.append(
          {'method': row, 'column': column.name, 'seeds': len(cell.values)}
          | _numbers(cell)
          | {'paper': cell.paper, 'best': int(row == best)}
          | {'p_of_no_difference_to_best': cell.p}
          | _gap_numbers(cell.gap)
        )
  return render.as_csv(lines, CSV)


def _numbers(cell):
  mean, low, high, _ = cell.estimate or (None,) * 4
  numbers = {'mean': mean, 'sd': cell.sd, 'low': low, 'high': high}
  return {name: None if x is None else f'{x:.6f}' for name, x in numbers.items()}


def _gap_numbers(gap):
  names = CSV[-5:]
  if gap is None:
    return dict.fromkeys(names)
  values = gap.effect, gap.detectable, gap.low, gap.high, gap.p
  return {name: f'{value:.4g}' for name, value in zip(names, values)}


def gaps(grid: Grid) -> str:
  """A Markdown table of how rows differ from the best, in the deciding columns.

  These are the columns of NDCG@10 in the full catalogue, or else of the first measure.
  Empty where no difference is known.
  """
  rows = []
  for column in grid.columns:
    best = grid.best(column)
    for row in grid.rows:
      if (gap := grid.cells[row, column.name].gap) is not None:
        rows.append(
          {
            'column': column.name,
            'method': row,
            'less': best,
            'difference': f'{gap.mean:+.4f} ({gap.low:+.4f} to {gap.high:+.4f})',
            'p': f'{gap.p:.3f}',
            'effect size': f'{gap.effect:+.2f}',
            'detectable': f'{gap.detectable:.4f}',
          }
        )
  return render.markdown(rows) if rows else ''


def latex(grid: Grid, caption: str, label: str) -> str:
  """A `table` for booktabs; the paper's numbers are rows of their own."""
  best = {column.name: grid.best(column) for column in grid.columns}
  lines = []
  for row in grid.rows:
    cells = {name: grid.cells[row, name] for name in best}
    ours = {name: _in_latex(cell, row == best[name]) for name, cell in cells.items()}
    lines.append({'method': render.escaped(row)} | ours)
    if any(cell.paper is not None for cell in cells.values()):
      papers = {
        name: '' if cell.paper is None else f'{cell.paper:.4f}'
        for name, cell in cells.items()
      }
      lines.append({'method': r'\quad paper'} | papers)
  return render.latex(lines, caption, label)


def _in_latex(cell, bold):
  if not cell.estimate:
    return '--'
  mean = f'{cell.estimate.mean:.4f}'
  mean = rf'\textbf{{{mean}}}' if bold else mean
  mark = r'$^\dagger$' if cell.differs else ''
  if cell.estimate.half is not None:
    return rf'{mean}{mark} $\pm$ {cell.estimate.half:.4f}'
  return mean + mark + _spread(cell)
