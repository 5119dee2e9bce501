"""Auxiliary vectors of users, from a file of one's own."""

import pathlib
from typing import TYPE_CHECKING

import numpy as np

from xdomain.data.readers.tables import separator_of
from xdomain.data.types import DataError

if TYPE_CHECKING:
  import polars as pl


def read(path, *, header=True, separator=None) -> tuple[list[str], np.ndarray]:
  """Reads a table with a row a user: the raw id, then numbers.

  Args:
    path: a `.csv`, `.tsv` or `.parquet` file; text may be gzipped.
    header: whether line 1 of a text names the columns.
    separator: the character between fields, where the extension does not tell.

  Returns:
    Raw ids `[n]`, and vectors `[n, A]` float32.

  Raises:
    DataError: naming the file, the row (from 1, without header and blank
      lines) and the column.
  """
  import polars as pl

  path = pathlib.Path(path)
  if not path.is_file():
    raise DataError(f'{path}: there is no such file; check the path')
  try:
    frame = _frame(path, header, separator)
    users = frame.to_series(0).cast(pl.String).str.strip_chars()
    numbers = frame[:, 1:].cast(pl.Float32, strict=False)
  except (pl.exceptions.PolarsError, OSError) as error:
    reason = str(error).split('\n')[0]
    raise DataError(f'{path}: cannot be read as a table ({reason})') from error
  if not numbers.width or not numbers.height:
    raise DataError(
      f'{path}: {frame.height} rows of {frame.width} columns; it takes a column'
      ' of user ids and columns of numbers after it'
    )
  _check_users(path, users)
  _check_numbers(path, frame, numbers)
  return users.to_list(), numbers.to_numpy()


def _frame(path, header, separator) -> 'pl.DataFrame':
  """All that a file holds; text as it stands."""
  import polars as pl

  if path.suffix == '.parquet':
    return pl.read_parquet(path, glob=False)
  separator = separator_of(path, separator)
  frame = pl.read_csv(
    path,
    has_header=header,
    separator=separator,
    quote_char=None if separator == '\t' else '"',
    infer_schema=False,
    glob=False,
  )
  return frame.filter(~pl.all_horizontal(pl.all().is_null()))


def _check_users(path, users):
  blank = users.is_null() | (users == '')
  if blank.any():
    raise DataError(
      f'{path}, row {blank.arg_max() + 1}: the user, in column'
      f' {users.name!r}, is missing'
    )
  repeated = ~users.is_first_distinct()
  if repeated.any():
    row = repeated.arg_max()
    raise DataError(
      f'{path}, row {row + 1}: the user {users[row]!r} has a row already; give each one'
    )


def _check_numbers(path, frame, numbers):
  for column in numbers.iter_columns():
    wrong = ~column.is_finite().fill_null(False)
    if wrong.any():
      row = wrong.arg_max()
      raise DataError(
        f'{path}, row {row + 1}, column {column.name!r}:'
        f' {frame[column.name][row]!r} is not a number'
      )
