"""Rows of text -> Markdown, CSV and LaTeX. Every table is written here."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

Rows = Sequence[Mapping[str, object]]  # Every row has the columns of the first.


def columns(rows: Rows) -> list[str]:
  """The columns that all rows share.

  Raises:
    ValueError: a row has other columns than the first.
  """
  first = list(rows[0])
  for number, row in enumerate(rows, 1):
    if list(row) != first:
      raise ValueError(
        f'row {number} of a table has the columns {", ".join(row)}, not'
        f' {", ".join(first)}'
      )
  return first


def markdown(rows: Rows) -> str:
  """A Markdown table, without a line end."""
  names = columns(rows)
  lines = [names, ['---'] * len(names), *(row.values() for row in rows)]
  return '\n'.join(map(markdown_row, lines))


def markdown_row(cells: Iterable[object]) -> str:
  """One line of a Markdown table, for tables that are printed as they grow."""
  return '| ' + ' | '.join(map(str, cells)) + ' |'


def as_csv(rows: Rows, names: Sequence[str] = ()) -> str:
  """CSV with a header of `names`, or the columns of the rows; None is empty."""
  text = io.StringIO()
  writer = csv.DictWriter(text, names or columns(rows), lineterminator='\n')
  writer.writeheader()
  writer.writerows(rows)
  return text.getvalue()


def latex(rows: Rows, caption: str, label: str) -> str:
  """A `table` environment for booktabs; cells are LaTeX, all else is escaped."""
  names = columns(rows)
  lines = [
    r'\begin{table}',
    r'\centering',
    rf'\caption{{{escaped(caption)}}}',
    rf'\label{{{label}}}',
    rf'\begin{{tabular}}{{l{"r" * (len(names) - 1)}}}',
    r'\toprule',
    _latex_row(map(escaped, names)),
    r'\midrule',
    *(_latex_row(row.values()) for row in rows),
    r'\bottomrule',
    r'\end{tabular}',
    r'\end{table}',
  ]
  return '\n'.join(lines) + '\n'


def _latex_row(cells):
  return ' & '.join(cells) + r' \\'


def escaped(text: str) -> str:
  """Text with LaTeX's special characters escaped."""
  for character in '\\&%$#_{}':
    text = text.replace(character, '\\' + character)
  return text
