"""Amazon ratings and reviews, the 2014 release -> `Table` and texts.

McAuley et al. 2015; He and McAuley 2016. DARec's pairs 1 to 4 are made of
eight of its categories; `PAIRS` holds the counts that the paper's Table 1
prints for them, `MOVIES_BOOKS` those of SharedVAE's Table 2. The publisher
names no digests, so the digest of a first download is kept beside the file and
checked whenever the file is read.
"""

import ast
import io
import json
import pathlib
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from xdomain.data import types
from xdomain.data.readers import download, tables

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
# What a review calls its user, item, rating and time.
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
  pair: int, folder=None, say: Callable = download.to_stderr
) -> tuple[pathlib.Path, pathlib.Path]:
  """The files of one of `PAIRS`, 1 to 4: see `obtain_both`."""
  if pair not in PAIRS:
    raise types.DataError(f'there is no pair {pair}; the pairs are 1 to 4')
  return obtain_both(f'pair {pair}', PAIRS[pair], folder, say)


def obtain_both(
  what: str, pair: PrintedPair, folder=None, say: Callable = download.to_stderr
) -> tuple[pathlib.Path, pathlib.Path]:
  """The files of a source and a target, fetched if need be.

  Args:
    what: the pair's name, for messages.
    pair: of two of `CATEGORIES`.
    folder: where they are or go; by default `amazon` in the cache.
    say: is told which files are used and what is fetched.

  Raises:
    tables.DataError: if files are neither there nor reachable: which, where
      to get them and where to put them.
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
  return paths[0], paths[1]


def find(category: str, folder) -> pathlib.Path | None:
  """The best file of a category (as files name it) in a folder, if any."""
  paths = (pathlib.Path(folder) / form.format(category) for form in FORMS)
  return next((path for path in paths if path.exists()), None)


def find_reviews(category: str, folder=None) -> pathlib.Path:
  """The file of a category (as the paper names it) that holds review texts.

  Raises:
    tables.DataError: if there is none: where to get it and where to put it.
  """
  folder = pathlib.Path(folder or download.cache_dir() / 'amazon')
  forms = [f.format(CATEGORIES[category]) for f in FORMS if 'reviews' in f]
  for form in forms:
    if (folder / form).exists():
      return folder / form
  raise types.DataError(
    f'{folder} holds no reviews of {category}, whose texts are asked for: get'
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


def read(path) -> types.Table:
  """Reads a ratings CSV, or reviews as JSON lines or Python literals.

  Raises:
    tables.DataError: naming the file and the line.
  """
  path = pathlib.Path(path)
  download.verify_recorded(path)
  if '.csv' in path.suffixes:
    return tables.read(
      path, user=0, item=1, rating=2, time=3, scale=SCALE, header=False
    )
  return _read_reviews(path)


def texts(path) -> Iterator[tuple[str, str, str]]:
  """User, item and text of each review, in the order of the file."""
  for line, record in _records(tables.text_lines(path), path):
    user, item = record.get('reviewerID'), record.get('asin')
    if not user or not item:
      raise types.DataError(f'{path}, line {line}: there is no reviewerID or no asin')
    yield user, item, record.get('reviewText') or ''


def _read_reviews(path) -> types.Table:
  import polars as pl

  frames = [_parse(lines, path) for lines in _batches(path)]
  if not frames:
    raise types.DataError(f'{path}: the file is empty')
  return tables.from_frame(pl.concat(frames), SCALE, str(path))


def _batches(path) -> Iterator[list[tuple[int, str]]]:
  """Numbered lines, about `BATCH` characters at a time."""
  batch, size = [], 0
  for line, text in tables.text_lines(path):
    batch.append((line, text))
    size += len(text)
    if size >= BATCH:
      yield batch
      batch, size = [], 0
  if batch:
    yield batch


def _parse(lines, path) -> 'pl.DataFrame':
  """The events of numbered lines: by polars, one by one where it fails."""
  import polars as pl

  kinds = (pl.String, pl.String, pl.Float32, pl.Int64)
  text = ''.join(text for _, text in lines)
  try:
    frame = pl.read_ndjson(
      io.BytesIO(text.encode()), schema=dict(zip(FIELDS, kinds))
    ).rename(dict(zip(FIELDS, tables.Event._fields)))
    if tables.first_bad_row(frame, SCALE) is None:
      return frame
  except pl.exceptions.PolarsError:
    pass  # Python literals, or a broken line: the slow way tells which.
  schema = dict(zip(tables.Event._fields, kinds))
  return pl.DataFrame(list(_events(lines, path)), schema, orient='row')


def _events(lines, path) -> Iterator[tables.Event]:
  for line, record in _records(lines, path):
    event = tables.Event(*(record.get(field) for field in FIELDS))
    if sentence := tables.fault(event, SCALE):
      fields = ', '.join(FIELDS)
      raise types.DataError(f'{path}, line {line}: {sentence} (read from {fields})')
    user, item, rating, time = event
    yield tables.Event(str(user), str(item), float(rating), int(time))


def _records(lines, path) -> Iterator[tuple[int, dict]]:
  """The object on each line that is not blank, and the line's number."""
  for line, text in lines:
    if not text.strip():
      continue
    record = _loads(text)
    if not isinstance(record, dict):
      raise types.DataError(
        f'{path}, line {line}: neither a JSON object nor a Python literal: '
        f'{text.strip()[:40]!r}; is the file cut short or another kind?'
      )
    yield line, record


def _loads(text):
  """A JSON value, else a Python literal, else None."""
  try:
    return json.loads(text)
  except ValueError:
    pass
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # Texts hold invalid escapes.
      return ast.literal_eval(text.strip())
  except (ValueError, SyntaxError, MemoryError, RecursionError):
    return None
