"""Amazon ratings and reviews, the 2014 release -> `Table` and texts.

McAuley et al. 2015; He and McAuley 2016. DARec's pairs 1 to 4 are made of eight of its
categories; `PAIRS` holds their counts in the paper's Table 1, `MOVIES_BOOKS` those in
SharedVAE's Table 2. The publisher names no digests, so the digest of the first download
is kept beside the file and checked whenever the file is read.
"""

import ast
import contextlib
import io
import json
import pathlib
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xdomain.data import types
from xdomain.data.readers import columns, contents, download, parquet, tables

if TYPE_CHECKING:
  import polars as pl

SCALE = (1, 5)
PAGE = 'https://jmcauley.ucsd.edu/data/amazon/links.html'
MIRRORS = (
  'https://mcauleylab.ucsd.edu/public_datasets/data/amazon/categoryFiles/',
  'https://snap.stanford.edu/data/amazon/productGraph/categoryFiles/',
)
# Accepted forms of a category, best first: ratings, all reviews, 5-core.
FORMS = (
  'ratings_{}.csv',
  'ratings_{}.csv.gz',
  'reviews_{}.json.gz',
  'reviews_{}.json',
  'reviews_{}_5.json.gz',
  'reviews_{}_5.json',
)
# The name in the paper, and the name in the files.
CATEGORIES = {
  'Office Products': 'Office_Products',
  'Movies and TV': 'Movies_and_TV',
  'Sports and Outdoors': 'Sports_and_Outdoors',
  'CDs and Vinyl': 'CDs_and_Vinyl',
  'Android Apps': 'Apps_for_Android',
  'Video Games': 'Video_Games',
  'Toys and Games': 'Toys_and_Games',
  'Automotive': 'Automotive',
  'Books': 'Books',
}
# The fields of a review: user, item, rating and time.
FIELDS = ('reviewerID', 'asin', 'overall', 'unixReviewTime')
BATCH = 1 << 26  # Characters of review lines parsed at once.


class Printed(NamedTuple):
  """One domain of a pair as a paper's table prints it."""

  category: str
  items: int
  ratings: int
  sparsity: float  # percent


class PrintedPair(NamedTuple):
  source: Printed
  target: Printed
  users: int  # shared


PAIRS = {
  1: PrintedPair(
    Printed('Office Products', 10_398, 40_294, 99.92),
    Printed('Movies and TV', 21_732, 158_927, 99.86),
    5_154,
  ),
  2: PrintedPair(
    # A misprint: the counts give 99.96.
    Printed('Sports and Outdoors', 16_420, 39_151, 99.99),
    Printed('CDs and Vinyl', 34_286, 79_019, 99.96),
    5_713,
  ),
  3: PrintedPair(
    Printed('Android Apps', 9_185, 34_217, 99.82),
    Printed('Video Games', 10_062, 21_312, 99.90),
    2_034,
  ),
  4: PrintedPair(
    Printed('Toys and Games', 10_597, 25_103, 99.92),
    Printed('Automotive', 7_375, 16_448, 99.92),
    2_885,
  ),
}
# Ratings of 4 and 5 only.
MOVIES_BOOKS = PrintedPair(
  Printed('Movies and TV', 28_656, 560_283, 99.94),
  Printed('Books', 59_880, 601_928, 99.97),
  35_025,
)


def obtain(
  pair: int,
  folder: str | pathlib.Path | None = None,
  say: Callable = download.to_stderr,
) -> tuple[pathlib.Path, pathlib.Path]:
  """Returns the files of one of `PAIRS`, 1 to 4, as `obtain_both` does."""
  if pair not in PAIRS:
    raise types.DataError(f'there is no pair {pair}; the pairs are 1 to 4')
  return obtain_both(f'pair {pair}', PAIRS[pair], folder, say)


def obtain_both(
  what: str,
  pair: PrintedPair,
  folder: str | pathlib.Path | None = None,
  say: Callable = download.to_stderr,
) -> tuple[pathlib.Path, pathlib.Path]:
  """Returns the files of a source and a target, fetched if they are missing.

  Args:
    what: the pair's name, for messages.
    pair: of two of `CATEGORIES`.
    folder: where they are or go; by default `amazon` in the cache.
    say: called with the files that are used and fetched.

  Raises:
    DataError: files are neither there nor reachable; the message names them, where to
      get them and where to put them.
  """
  folder = pathlib.Path(folder or download.cache_dir() / 'amazon')
  names = [printed.category for printed in pair[:2]]
  paths = [_obtain_one(CATEGORIES[name], folder, say) for name in names]
  missing = [
    f'  ratings_{CATEGORIES[name]}.csv'
    for name, path in zip(names, paths)
    if path is None
  ]
  if missing:
    raise types.DataError(
      f'The Amazon files of {what} could not be fetched:\n'
      + '\n'.join(missing)
      + f'\nGet them ("ratings only", the 2014 release) from {PAGE}, put them '
      f'into {folder} and run the same command again; reviews_<category>'
      '.json.gz will do as well.'
    )
  source, target = paths
  assert source is not None and target is not None
  return source, target


def find(category: str, folder: str | pathlib.Path) -> pathlib.Path | None:
  """Returns the best file of a category (as files name it) in a folder, or None."""
  paths = (pathlib.Path(folder) / form.format(category) for form in FORMS)
  return next((path for path in paths if path.exists()), None)


def find_reviews(
  category: str, folder: str | pathlib.Path | None = None
) -> pathlib.Path:
  """Returns the file of review texts of a category (as the paper names it).

  Raises:
    DataError: there is none; the message names where to get it and put it.
  """
  folder = pathlib.Path(folder or download.cache_dir() / 'amazon')
  forms = [f.format(CATEGORIES[category]) for f in FORMS if 'reviews' in f]
  for form in forms:
    if (folder / form).exists():
      return folder / form
  raise types.DataError(
    f'{folder} holds no reviews of {category} with their texts; get'
    f' {forms[0]} (or one of {", ".join(forms[1:])}) from {PAGE}'
  )


def _obtain_one(category, folder, say) -> pathlib.Path | None:
  if path := find(category, folder):
    say(f'{category}: from {path}')
    return path
  path = folder / FORMS[0].format(category)
  for mirror in MIRRORS:
    try:
      download.fetch(mirror + path.name, path, say=say)
    except download.Unreachable as error:
      say(f'{category}: {error}')
    else:
      download.record_digest(path)
      say(f'{category}: from {mirror}, kept as {path}')
      return path
  return None


def read(path: str | pathlib.Path) -> types.Table:
  """Returns the ratings of a CSV, or of reviews as JSON lines or Python literals.

  Raises:
    DataError: naming the file and the line.
  """
  path = pathlib.Path(path)
  download.verify_recorded(path)
  if '.csv' in path.suffixes:
    return tables.read(
      path,
      user=0,
      item=1,
      rating=2,
      time=3,
      scale=SCALE,
      separator=',',
      header=False,
    )
  return _read_reviews(path)


def texts(path: str | pathlib.Path) -> Iterator[tuple[str, str, str]]:
  """Yields user, item and text of each review, in the order of the file."""
  path = pathlib.Path(path)
  for line, record in _records(contents.lines(path), path):
    user, item = (_id(record.get(field)) for field in FIELDS[:2])
    if not user or not item:
      raise types.DataError(f'{path}, line {line}: there is no reviewerID or no asin')
    text = record.get('reviewText')
    yield user, item, text if isinstance(text, str) else ''


def _id(value) -> str:
  """An id as `columns.ids` reads it."""
  text = '' if value is None else str(value)
  return unicodedata.normalize('NFC', text.strip(columns.BLANKS))


def _read_reviews(path) -> types.Table:
  import polars as pl

  frames, lines = [], []
  for batch in _batches(path):
    batch = [(line, text) for line, text in batch if text.strip()]
    frames.append(_parse(batch, path))
    lines.append(np.array([line for line, _ in batch], np.int64))
  if not frames:
    raise types.DataError(f'{path}: the file is empty')
  numbers = np.concatenate(lines)
  try:
    return tables.from_frame(
      pl.concat(frames), SCALE, str(path), lambda row: f'line {numbers[row]}'
    )
  except types.DataError as error:
    raise types.DataError(f'{error} (read from {", ".join(FIELDS)})') from None


def _batches(path) -> Iterator[list[tuple[int, str]]]:
  """Yields numbered lines, about `BATCH` characters at a time."""
  batch, size = [], 0
  for line, text in contents.lines(path):
    batch.append((line, text))
    size += len(text)
    if size >= BATCH:
      yield batch
      batch, size = [], 0
  if batch:
    yield batch


def _parse(lines, path) -> 'pl.DataFrame':
  """The fields of numbered lines as text: by polars, else line by line.

  Lines that are no JSON, or lack a field, are read one by one, as is a batch that
  polars would end at, or change.
  """
  import polars as pl

  text = ''.join(text for _, text in lines)
  if not _nested(lines) and not _LONE_SURROGATE.search(text) and _once(lines, text):
    schema: Any = dict(zip(FIELDS, (pl.String, pl.String, pl.Float64, pl.Int64)))
    with contextlib.suppress(types.DataError), parquet.polars_errors('JSON'):
      frame = pl.read_ndjson(io.BytesIO(text.encode()), schema=schema)
      if frame.height == len(lines) and not any(frame.null_count().row(0)):
        return frame.select(
          user=FIELDS[0],
          item=FIELDS[1],
          rating=pl.col(FIELDS[2]).cast(pl.String),
          time=pl.col(FIELDS[3]).cast(pl.String),
        )
  rows = [_texts(record, line, path) for line, record in _records(lines, path)]
  parts = ('user', 'item', 'rating', 'time')
  return pl.DataFrame(rows, dict.fromkeys(parts, pl.String), orient='row')


# Half a character, which polars reads as another one.
_LONE_SURROGATE = re.compile(
  r'\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]'
)


def _once(lines, text) -> bool:
  """Whether a line can have no field twice."""
  return all(text.count(f'"{field}"') == len(lines) for field in FIELDS)


def _nested(lines) -> bool:
  """Whether a line could hold values nested so deep that a parser's stack ends."""
  return any(text.count('[') + text.count('{') > 200 for _, text in lines)


def _texts(record, line, path) -> list[str | None]:
  """The four fields of a review as text; None for one that is missing."""
  values = [record.get(field) for field in FIELDS]
  for field, value in zip(FIELDS, values):
    if value is not None and type(value) not in (str, int, float):
      raise types.DataError(
        f'{path}, line {line}: {field} is {str(value)[:40]!r}, which is neither text'
        ' nor a number'
      )
    if isinstance(value, str) and any('\ud800' <= c <= '\udfff' for c in value):
      raise types.DataError(
        f'{path}, line {line}: {field} holds half a character (a lone surrogate)'
      )
  return [None if value is None else str(value) for value in values]


def _records(lines, path) -> Iterator[tuple[int, dict]]:
  """Yields the object on each line that is not blank, and the line's number."""
  for line, text in lines:
    if not text.strip():
      continue
    record = _loads(text)
    if isinstance(record, _Doubled):
      raise types.DataError(
        f'{path}, line {line}: the field {record.field} is given twice'
      )
    if not isinstance(record, dict):
      raise types.DataError(
        f'{path}, line {line}: neither a JSON object nor a Python literal: '
        f'{text.strip()[:40]!r}; is the file cut short or another kind?'
      )
    yield line, record


class _Doubled(NamedTuple):
  field: str


def _object(pairs):
  """An object of JSON, in which no field of a review stands twice."""
  values = dict(pairs)
  if len(values) < len(pairs):
    names = [name for name, _ in pairs]
    for field in FIELDS:
      if names.count(field) > 1:
        return _Doubled(field)
  return values


def _loads(text):
  """A JSON value, else a Python literal, else None."""
  with contextlib.suppress(ValueError, RecursionError):
    return json.loads(text, object_pairs_hook=_object)
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # Texts hold invalid escapes.
      return ast.literal_eval(text.strip())
  except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
    return None
