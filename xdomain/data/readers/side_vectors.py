"""Auxiliary vectors of users, from a file of one's own."""

import pathlib
from typing import TYPE_CHECKING

import numpy as np

from xdomain.data.readers import columns, contents, delimited, parquet
from xdomain.data.types import DataError

if TYPE_CHECKING:
  import polars as pl


def read(
  path: str | pathlib.Path, *, header: bool | None = None, separator: str | None = None
) -> tuple[list[str], np.ndarray]:
  """Returns raw user ids `[n]`, and their vectors `[n, A]` float32.

  Args:
    path: a text or Parquet file with a row for each user: the id, then numbers.
    header: whether line 1 of a text names the columns; None to find out.
    separator: the characters between fields; None to find out.

  Raises:
    DataError: naming the file, the line (the row, in Parquet) and the column.
  """
  path = pathlib.Path(path).expanduser()
  contents.check_is_file(path)
  frame, where = _frame(path, header, separator or None)
  if frame.width < 2 or not frame.height:
    raise DataError(
      f'{path}: {frame.height} rows of {frame.width} columns; expected a column'
      ' of user ids and columns of numbers after it'
    )
  users, fault = columns.ids('user', frame.to_series(0))
  faults, vectors = [fault], []
  for column in frame.iter_columns():
    if vectors or column.name != frame.columns[0]:
      vector, fault = columns.numbers(f'column {column.name!r}', column)
      vectors.append(vector)
      faults.append(fault)
  columns.raise_first(faults, str(path), where)
  _check_once(path, users, where)
  matrix = np.stack([vector.to_numpy() for vector in vectors], 1).astype(np.float32)
  return users.to_list(), matrix


def _frame(path, header, separator):
  """All columns of a file, and what its rows are called in messages."""
  import polars as pl

  if contents.is_parquet(path):
    with parquet.polars_errors(f'{path}: cannot be read as Parquet'):
      frame = pl.read_parquet(path, glob=False)
    return frame, lambda row: f'row {row + 1}'
  text = delimited.layout(path, contents.text(path, contents.read(path)), separator, ())
  is_row = text.width > 1 and all(map(columns.is_number, text.first[1:]))
  if header and is_row:
    raise DataError(
      f'{path}, line 1: holds numbers as a row of vectors does, so it is no header;'
      ' give header=False'
    )
  header = not is_row if header is None else header
  fields = delimited.fields(text, range(text.width), header)
  frame = fields.frame()
  if header and len(set(text.first)) == text.width:
    frame = frame.rename(dict(zip(frame.columns, text.first)))
  return frame, lambda row: f'line {fields.line(row)}'


def _check_once(path, users: 'pl.Series', where):
  repeated = ~users.is_first_distinct()
  if repeated.any():
    row = repeated.to_list().index(True)
    raise DataError(
      f'{path}, {where(row)}: the user {users[row]!r} has a row already; give each user'
      ' one'
    )
