"""A user's own CSV, TSV, Parquet or RecBole file -> `Table`.

Every reader of this package ends in `from_frame`, so duplicates and integer
ids mean the same everywhere. A file is parsed by polars, which is fast and
says little about what is wrong; when it fails, or when a value cannot be
right, a second and slower pass over the lines finds the first bad one.
"""

import csv
import difflib
import gzip
import math
import pathlib
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xdomain.data import types

if TYPE_CHECKING:
  import polars as pl

# An id is not blank, and on one line: else a quote was not closed before it.
SOUND_ID = r'\A[^\r\n]*\S[^\r\n]*\z'
SEPARATORS = {'.csv': ',', '.tsv': '\t', '.inter': '\t'}
NO_HEADER = 'if there is none, say --config.data.header=False'
TAB = ('tab', r'\t')  # as it can be typed


class Event(NamedTuple):
  """One rating before it is believed: text from a file, or Python values."""

  user: Any
  item: Any
  rating: Any
  time: Any = 0


def read(
  path,
  *,
  user='user',
  item='item',
  rating='rating',
  time=None,
  scale=(1, 5),
  separator=None,
  header=True,
) -> types.Table:
  """Reads one domain from a table with a row a rating.

  Args:
    path: a `.csv`, `.tsv`, `.inter` (RecBole) or `.parquet` file; text may be
      gzipped (`.csv.gz`). Text is UTF-8. Comma-separated fields may be quoted;
      tab-separated ones are taken as they stand.
    user: the column of the users' ids: its name, which is matched without the
      type of a RecBole header (`user_id:token`), or its position, from 0.
      Spaces around an id are no part of it.
    item: the column of the items' ids.
    rating: the column of the ratings; None if events carry none, value 1.
    time: the column of the timestamps, as numbers; None if there is none.
    scale: lowest and highest rating the file may hold.
    separator: the character between fields, where the extension does not tell;
      'tab' is one.
    header: whether line 1 names the columns; if not, give positions.

  Raises:
    types.DataError: naming the file and the line (the row, in Parquet).
  """
  path = pathlib.Path(path)
  if not path.is_file():
    what = 'that is no file' if path.exists() else 'there is no such file'
    raise types.DataError(
      f'{path}: {what}; paths are taken from the folder this is run in'
    )
  if path.stat().st_size == 0:
    raise types.DataError(f'{path}: the file is empty')
  wanted = Event(user, item, rating, time)
  if path.suffix == '.parquet':
    return from_frame(_parquet(path, wanted), scale, str(path))
  layout = _layout(path, wanted, separator, header)
  return _read_text(path, layout, scale)


def from_frame(frame: 'pl.DataFrame', scale, origin: str) -> types.Table:
  """Builds a table from rows of user, item, rating and, if known, time.

  Of several ratings by one user of one item, the last by time stays; among
  equal times, and without times, the last row. Ids count up in the order in
  which they first appear among the rows that stay.

  Args:
    frame: columns `user` and `item` of strings, `rating` and maybe `time` of
      numbers.
    scale: lowest and highest rating.
    origin: where the rows came from, for messages.

  Raises:
    types.DataError: naming the row, from 1.
  """
  if frame.is_empty():
    raise types.DataError(f'{origin}: there are no ratings in it')
  if (row := first_bad_row(frame, scale)) is not None:
    event = Event(**frame.row(row, named=True))
    raise types.DataError(f'{origin}, row {row + 1}: {fault(event, scale)}')
  users, items = first_rows(frame['user']), first_rows(frame['item'])
  value = frame['rating'].to_numpy().astype(np.float32)
  time = frame['time'].to_numpy() if 'time' in frame.columns else None
  keep = _last_of_each(users, items, time)
  user, user_row = _number(users, keep)
  item, item_row = _number(items, keep)
  ratings = types.Ratings(
    user=user,
    item=item,
    value=value[keep],
    time=np.zeros(0, np.int64) if time is None else time[keep],
    n_users=user_row.size,
    n_items=item_row.size,
  )
  return types.Table(
    ratings,
    users=frame['user'].gather(user_row),
    items=frame['item'].gather(item_row),
    origin=origin,
    duplicates=int(keep.size - np.count_nonzero(keep)),
  )


def fault(event: Event, scale) -> str | None:
  """What is wrong with one event, in a sentence; None if it is sound."""
  for name, value in zip(Event._fields, event):
    text = '' if value is None else str(value)
    if not text.strip():
      return f'the {name} is missing; fill it in or leave the row out'
    if name in ('rating', 'time'):
      if not _is_number(text):
        return _no_number(name, text)
    elif '\n' in text or '\r' in text:
      return f'the {name} goes on in the next line; look for a stray quote'
  low, high = scale
  if not low <= float(event.rating) <= high:
    return (
      f'the rating {event.rating} is outside the scale {low} to {high}; '
      'correct it, or give the lowest and highest rating as the scale '
      "(--config.data.scale='(1.0, 10.0)')"
    )
  return None


def _no_number(name, text) -> str:
  """What is wrong with a text where a number should be, and what would do."""
  hint = ''
  if _is_number(text.strip()):
    hint = '; take the space away'
  elif name == 'time':
    hint = '; give it as one, in seconds for instance, or name no column of times'
  return f'the {name} is {text!r}, which is not a number{hint}'


def first_bad_row(frame, scale) -> int | None:
  """The first row with a null, an unsound id or a rating off the scale."""
  import polars as pl

  low, high = np.float32(scale)
  bad = pl.any_horizontal(
    *(pl.col(name).is_null() for name in frame.columns),
    *(~pl.col(name).str.contains(SOUND_ID) for name in ('user', 'item')),
    ~pl.col('rating').cast(pl.Float32).is_between(low, high),
  )
  return frame.select(pl.arg_where(bad).first()).item()


def first_rows(ids: 'pl.Series') -> np.ndarray:
  """For each row, the first row with the same id: `[E]` uint32.

  Grouping by 64-bit hashes is 4 times as fast as grouping 20 million strings.
  A second hash guards it: should two ids share the first one, which happens
  once in 100,000 files of that size, the strings themselves are grouped.
  """
  first = _first_of_group(ids.hash(seed=0))
  guard = ids.hash(seed=1).to_numpy()
  return first if (guard == guard[first]).all() else _first_of_group(ids)


def _first_of_group(keys) -> np.ndarray:
  import polars as pl

  rows = keys.rename('key').to_frame().with_row_index('row')
  return rows.select(pl.col('row').min().over('key'))['row'].to_numpy()


def _last_of_each(users, items, time) -> np.ndarray:
  """`[E]` bool: the rows that stay when each (user, item) is kept once."""
  import polars as pl

  key = users.astype(np.uint64) << np.uint64(32) | items  # [E]
  ordered = np.sort(key)  # A third of the time of argsort; repeats are few.
  repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
  keep = np.ones(key.size, bool)
  if repeated.size:
    among = pl.Series(key).is_in(pl.Series(repeated).implode())
    rows = among.arg_true().to_numpy()
    when = rows if time is None else time[rows]
    rows = rows[np.lexsort((rows, when, key[rows]))]
    keep[rows[:-1][key[rows[:-1]] == key[rows[1:]]]] = False
  return keep


def _number(first, keep) -> tuple[np.ndarray, np.ndarray]:
  """Dense ids of the kept rows `[E]` int32, and a row that holds each id.

  Args:
    first: `[rows]` the first row with the same id.
    keep: `[rows]` bool.
  """
  kept = first[keep]
  # Without duplicates an id first appears at the row that is its own first.
  appears = np.full(first.size, kept.size, np.uint32)
  appears[kept[::-1]] = np.arange(kept.size - 1, -1, -1, dtype=np.uint32)
  new = appears[kept] == np.arange(kept.size, dtype=np.uint32)
  dense = np.cumsum(new, dtype=np.int32) - np.int32(1)
  return dense[appears[kept]], kept[new]


def _is_number(text) -> bool:
  """Whether polars, which is stricter than Python, takes it for a number."""
  try:
    finite = math.isfinite(float(text))
  except ValueError:
    return False
  return finite and text == text.strip() and '_' not in text


# --- Text -------------------------------------------------------------------


class Layout(NamedTuple):
  """Where things are in a text file."""

  separator: str
  quote: str | None
  header: bool
  width: int  # fields in a line
  position: Event  # the column of each part; None where there is none


def separator_of(path, given) -> str:
  """The character between the fields of a text file, by its name or as given.

  Raises:
    types.DataError: neither tells.
  """
  kind = pathlib.Path(path.name.removesuffix('.gz')).suffix
  separator = given or SEPARATORS.get(kind)
  separator = '\t' if separator in TAB else separator
  if separator is None or len(separator) != 1:
    why = f'separator={given!r}' if given else 'its name does not tell'
    raise types.DataError(
      f'{path}: cannot tell how its fields are separated ({why}); give a '
      "single character, as in --config.data.separator=';', or 'tab'"
    )
  return separator


def _layout(path, wanted, separator, header) -> Layout:
  separator = separator_of(path, separator)
  quote = None if separator == '\t' else '"'
  first = next(_records(path, separator, quote), (1, []))[1]
  if not first:
    raise types.DataError(f'{path}, line 1: the line is blank; begin with data')
  names = first if header else None
  position = _positions(path, wanted, names, len(first))
  if names and isinstance(wanted.rating, int):
    rating = names[position.rating]
    if _is_number(rating.strip()):
      raise types.DataError(
        f'{path}, line 1: the rating is {rating!r}, as if it were no header; '
        f'{NO_HEADER}'
      )
  return Layout(separator, quote, header, len(first), position)


def _positions(path, wanted: Event, names, width) -> Event:
  """Turns column names into positions; positions stay."""
  if names is not None:
    names = [name.split(':')[0].strip() for name in names]
  return Event(
    *(
      _position(path, column, names, width, optional=name in ('rating', 'time'))
      for name, column in wanted._asdict().items()
    )
  )


def _position(path, column, names, width, optional) -> int | None:
  if column is None or (isinstance(column, int) and 0 <= column < width):
    return column
  if isinstance(column, int):
    raise types.DataError(
      f'{path}, line 1: there is no column {column}; the columns are 0 to {width - 1}'
    )
  if names is None:
    raise types.DataError(
      f'{path}: without a header the column {column!r} has no name; '
      'give its position, from 0'
    )
  if column not in names:
    near = difflib.get_close_matches(column, names, 1, 0.5)
    hint = '; leave its name empty where there is none' if optional else ''
    hint = f'; did you mean {near[0]!r}?' if near else hint
    if any(map(_is_number, names)):
      hint = f'; {NO_HEADER}, and give positions, from 0'
    if len(names) == 1:
      hint = (
        ', one field; if it is several, give the separator between them '
        "(--config.data.separator=';')"
      )
    raise types.DataError(
      f'{path}, line 1: there is no column {column!r}; '
      f'the columns are {", ".join(names)}{hint}'
    )
  return names.index(column)


def _read_text(path, layout, scale) -> types.Table:
  import polars as pl

  try:
    frame = _scan(path, layout).collect()
    if any(frame.null_count().row(0)):
      # Fields are missing, which is a fault, or lines are blank, which is not.
      _raise_first_fault(path, layout, scale)
      frame = frame.drop_nulls()
    return from_frame(frame.select(pl.exclude('last')), scale, str(path))
  except (pl.exceptions.PolarsError, types.DataError, OSError) as error:
    _raise_first_fault(path, layout, scale)
    if isinstance(error, types.DataError):
      raise
    reason = str(error).split('\n')[0]
    raise types.DataError(
      f'{path}: cannot be parsed ({reason}); every line has the right fields, '
      f'so look for stray quotes{_first_quote(path)}'
    ) from error


def _first_quote(path) -> str:
  """Where to begin looking for a stray quote, for a message."""
  lines = (line for line, text in text_lines(path) if '"' in text)
  line = next(lines, None)
  return '' if line is None else f', the first of which is in line {line}'


def _scan(path, layout) -> 'pl.LazyFrame':
  """The wanted columns, lazily, and the last one if it is not among them.

  Asking for the last column makes polars refuse lines with too many fields.
  """
  import polars as pl

  kinds = Event(pl.String, pl.String, pl.Float32, pl.Float64)
  schema = {str(column): pl.String for column in range(layout.width)}
  columns = {}
  for name, column in layout.position._asdict().items():
    if column is not None:
      schema[str(column)] = getattr(kinds, name)
      columns[name] = pl.col(str(column))
      if name in ('user', 'item'):
        columns[name] = columns[name].str.strip_chars()
  columns['last'] = pl.col(str(layout.width - 1)).is_null()
  columns.setdefault('rating', pl.lit(1, pl.Float32))
  if 'time' in columns:
    columns['time'] = columns['time'].cast(pl.Int64)
  return pl.scan_csv(
    path,
    has_header=False,
    skip_rows=int(layout.header),
    separator=layout.separator,
    quote_char=layout.quote,
    schema=schema,
    glob=False,
  ).select(**columns)


def _raise_first_fault(path, layout, scale) -> None:
  """Goes through the lines one by one, up to the first that is wrong."""
  records = _records(path, layout.separator, layout.quote)
  if layout.header:
    next(records)
  for line, fields in records:
    if fields and (sentence := _line_fault(fields, layout, scale)):
      raise types.DataError(f'{path}, line {line}: {sentence}')


def _line_fault(fields, layout, scale) -> str | None:
  if len(fields) != layout.width:
    return (
      f'{len(fields)} fields where line 1 has {layout.width}; '
      f'add what is missing, or quote fields that hold {layout.separator!r}'
    )
  user, item, rating, time = layout.position
  event = Event(
    user=fields[user],
    item=fields[item],
    rating=scale[0] if rating is None else fields[rating],
    time=0 if time is None else fields[time],
  )
  return fault(event, scale)


def _records(path, separator, quote) -> Iterator[tuple[int, list[str]]]:
  """The fields of each record, and the line it begins in; [] if blank."""
  quoting = csv.QUOTE_NONE if quote is None else csv.QUOTE_MINIMAL
  lines = (text for _, text in text_lines(path))
  reader = csv.reader(
    lines, delimiter=separator, quotechar=quote, quoting=quoting, strict=True
  )
  while True:
    line = reader.line_num + 1
    try:
      fields = next(reader)
    except StopIteration:
      return
    except csv.Error as error:
      raise types.DataError(f'{path}, line {line}: {error}') from error
    yield line, fields


def text_lines(path) -> Iterator[tuple[int, str]]:
  """The lines of a UTF-8 file, gzipped or not, and their numbers from 1."""
  line = 0
  try:
    with open_binary(path) as file:
      for line, raw in enumerate(file, start=1):
        yield line, raw.decode('utf-8-sig' if line == 1 else 'utf-8')
  except UnicodeDecodeError as error:
    byte = error.object[error.start]
    raise types.DataError(
      f'{path}, line {line}: byte 0x{byte:02x} is not UTF-8 text; '
      'save the file as UTF-8'
    ) from error
  except (EOFError, gzip.BadGzipFile, zlib.error) as error:
    raise types.DataError(
      f'{path}: the gzip data is damaged or cut short after line {line}; '
      'get the file again'
    ) from error
  except OSError as error:
    raise types.DataError(f'{path}: {error.strerror}; check the path') from error


def open_binary(path):
  """Opens a file that may be gzipped, which its first two bytes tell."""
  with open(path, 'rb') as file:
    gzipped = file.read(2) == b'\x1f\x8b'
  return gzip.open(path) if gzipped else open(path, 'rb')


# --- Parquet ----------------------------------------------------------------


def _parquet(path, wanted: Event) -> 'pl.DataFrame':
  import polars as pl

  try:
    scan = pl.scan_parquet(path, glob=False)
    names = scan.collect_schema().names()
    position = _positions(path, wanted, names, len(names))
    columns = {
      name: pl.col(names[column])
      for name, column in position._asdict().items()
      if column is not None
    }
    for name in ('user', 'item'):
      columns[name] = columns[name].cast(pl.String).str.strip_chars()
    columns.setdefault('rating', pl.lit(1))
    for name, kind in (('rating', pl.Float32), ('time', pl.Int64)):
      if name in columns:
        _check_text(path, scan, name, columns[name], kind)
        columns[name] = columns[name].cast(kind)
    return scan.select(**columns).collect()
  except (pl.exceptions.PolarsError, OSError) as error:
    reason = str(error).split('\n')[0]
    raise types.DataError(f'{path}: cannot be read as Parquet ({reason})') from error


def _check_text(path, scan, name, column, kind) -> None:
  """Names the first row with a text where there should be a number."""
  import polars as pl

  if scan.select(column).collect_schema().dtypes() != [pl.String]:
    return
  lost = column.is_not_null() & column.cast(kind, strict=False).is_null()
  wrong = scan.with_row_index('row').filter(lost).select('row', value=column)
  for row, value in wrong.head(1).collect().rows():
    raise types.DataError(f'{path}, row {row + 1}: {_no_number(name, value)}')
