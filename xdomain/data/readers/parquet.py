"""Columns of a Parquet file; whatever is wrong with it is a `DataError`."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from xdomain.data.readers import contents
from xdomain.data.types import DataError

if TYPE_CHECKING:
  import polars as pl

BLOCK = 1 << 21  # rows that are in memory at a time


def scan(
  path: pathlib.Path, choose: Callable[[Sequence[str]], Any]
) -> 'Callable[[], Iterator[pl.DataFrame]]':
  """Returns what reads the columns of a file that `choose` picks, in blocks of rows.

  Args:
    path: of the file.
    choose: maps the names of all columns to a NamedTuple: the positions of those to
      read, under its names; None is passed over.
  """
  import polars as pl

  what = f'{path}: cannot be read as Parquet'
  with polars_errors(what):
    lazy = pl.scan_parquet(path, glob=False)
    names = lazy.collect_schema().names()
    rows = lazy.select(pl.len()).collect().item()
    chosen = choose(names)
    picked = lazy.select(
      **{
        part: pl.col(names[column])
        for part, column in chosen._asdict().items()
        if column is not None
      }
    )

  def blocks():
    for begin in range(0, max(rows, 1), BLOCK):
      with polars_errors(what):
        frame = picked.slice(begin, BLOCK).collect()
      yield frame

  return blocks


@contextlib.contextmanager
def polars_errors(what: str) -> Iterator[None]:
  """Turns the errors of polars into a DataError that begins with `what`.

  A damaged file can make polars panic, which is no `Exception`, and which prints a
  stack to stderr; that is left out.
  """
  with _stderr_unless_panic():
    try:
      yield
    except DataError:
      raise
    except Exception as error:
      first = str(error).split('\n')[0]
      raise DataError(f'{what} ({first or contents.reason(error)})') from error
    except BaseException as error:
      if type(error).__name__ != 'PanicException':
        raise
      raise DataError(f'{what} (the file is damaged)') from None


@contextlib.contextmanager
def _stderr_unless_panic() -> Iterator[None]:
  """Holds back what is written to stderr, and drops the stacks of panics."""
  with tempfile.TemporaryFile() as kept:
    real = os.dup(2)
    os.dup2(kept.fileno(), 2)
    try:
      yield
    finally:
      os.dup2(real, 2)
      kept.seek(0)
      written = kept.read()
      if written and b'panicked at' not in written:
        os.write(real, written)
      os.close(real)
