"""Writes recommendations to a file or a terminal, also one that stops reading."""

import contextlib
import io
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from xdomain.runs.trained import Recommendation

WRITERS = {'.csv': 'write_csv', '.json': 'write_json', '.parquet': 'write_parquet'}


def writable(name: str | pathlib.Path) -> pathlib.Path:
  """The path of a file of recommendations, refused before anything is computed."""
  from xdomain.runs import spec as specs

  path = pathlib.Path(name)
  if path.suffix not in WRITERS:
    raise specs.SpecError(f'--out={path}: it can be written as {", ".join(WRITERS)}')
  if path.is_dir():
    raise specs.SpecError(f'--out={path} is a folder; name a file in it')
  return path


def write_recommendations(path: pathlib.Path, rows: Sequence['Recommendation']) -> None:
  """Writes rows of user, item and score, and `popular` where any item is."""
  import polars as pl

  from xdomain import files

  columns = {'user': pl.String, 'item': pl.String, 'prediction': pl.Float32}
  if any(row.popular for row in rows):
    columns['popular'] = pl.Boolean
  values = [tuple(row)[: len(columns)] for row in rows]
  frame = pl.DataFrame(values, columns, orient='row')
  content = io.BytesIO()
  getattr(frame, WRITERS[path.suffix])(content)
  files.write(path, content.getvalue())


def show_recommendations(rows: Sequence['Recommendation']) -> None:
  """Prints a line an item."""
  with reader_may_stop():
    for user, item, score, popular in rows:
      print(f'{user}\t{item}\t{score:.4g}' + '\tpopular' * popular)


def escape() -> None:
  """Lets a console that cannot show a letter of an id or a path print an escape."""
  if isinstance(sys.stdout, io.TextIOWrapper):
    sys.stdout.reconfigure(errors='backslashreplace')


@contextlib.contextmanager
def reader_may_stop() -> Iterator[None]:
  """Ends the output quietly where its reader has seen enough, as `head` has.

  Output that cannot be written ends the program with one line.
  """
  try:
    try:
      yield
    finally:
      if sys.stdout:
        sys.stdout.flush()
  except OSError as error:
    drop()
    if not isinstance(error, BrokenPipeError):
      print(f'error: the output cannot be written: {error.strerror}', file=sys.stderr)
      sys.exit(1)


def drop() -> None:
  """Drops all further output, also what Python flushes as it ends."""
  os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
