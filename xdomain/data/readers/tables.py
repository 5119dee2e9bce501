"""A user's own CSV, TSV, Parquet or RecBole file -> `Table`.

Every reader of this package ends in `from_frame`, so duplicates, ids and scales mean
the same everywhere.
"""

import difflib
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xdomain.data import types
from xdomain.data.readers import columns, contents, delimited, parquet

if TYPE_CHECKING:
  import polars as pl

Column = str | int | None  # a name, a position from 0, or none


class Wanted(NamedTuple):
  """The column of each part of an interaction."""

  user: Column
  item: Column
  rating: Column
  time: Column


def read(
  path: str | pathlib.Path,
  *,
  user: Column = 'user',
  item: Column = 'item',
  rating: Column = 'rating',
  time: Column = None,
  scale: tuple[float, float] | None = None,
  separator: str | None = None,
  header: bool | None = None,
) -> types.Table:
  """Returns the interactions of one domain, from a file with one in each row.

  Args:
    path: text (`.csv`, `.tsv`, RecBole's `.inter`, or any name) in UTF-8, which may be
      packed by gzip, bzip2, xz or zip, or a Parquet file. `~` is the home folder.
      Fields of text may be quoted, except between tabs.
    user: the column of user ids: its name, compared without the type of a RecBole
      header (`user_id:token`), or its position. Spaces around ids are dropped.
    item: the column of item ids.
    rating: the column of ratings; None where there are none, and every value is 1.
    time: the column of times, as numbers or ISO 8601 dates; None where there are none.
    scale: lowest and highest rating that the file may hold; None for any.
    separator: the characters between fields, or 'tab'; None to find out.
    header: whether the first line names the columns; None to find out.

  Raises:
    DataError: naming the file and the line (the row, in Parquet).
  """
  path = pathlib.Path(path).expanduser()
  contents.check_is_file(path)
  wanted = Wanted(user, item, rating, time)
  if contents.is_parquet(path):
    frame = parquet.read(path, lambda names: _positions(path, wanted, names, 'schema'))
    return from_frame(frame, scale, str(path))
  return _read_text(path, wanted, scale, separator or None, header)


def from_frame(
  frame: 'pl.DataFrame',
  scale: tuple[float, float] | None,
  origin: str,
  where: Callable[[int], str] = lambda row: f'row {row + 1}',
) -> types.Table:
  """Builds a table from rows of user, item and, if known, rating and time.

  Of several ratings by one user of one item, the last by time stays; among equal
  times, and without times, the last row. Ids count up in the order in which they
  first appear among the rows that stay.

  Args:
    frame: columns `user` and `item`, maybe `rating` and `time`, of any type that
      `columns` converts.
    scale: lowest and highest rating; None for any.
    origin: where the rows came from, for messages.
    where: what a row, from 0, is called in messages.

  Raises:
    DataError: naming the first row that cannot be used.
  """
  if frame.is_empty():
    raise types.DataError(f'{origin}: there are no ratings in it')
  convert = {'rating': lambda column: columns.ratings(column, scale)}
  convert['time'] = columns.times
  converted, faults = {}, []
  for name in frame.columns:
    if name in convert:
      converted[name], fault = convert[name](frame[name])
    else:
      converted[name], fault = columns.ids(name, frame[name])
    faults.append(fault)
  columns.raise_first(faults, origin, where)
  return _table(converted, origin)


def _table(converted, origin) -> types.Table:
  users, items = first_rows(converted['user']), first_rows(converted['item'])
  time = converted['time'].to_numpy() if 'time' in converted else None
  keep = _last_of_each(users, items, time)
  user, user_row = _number(users, keep)
  item, item_row = _number(items, keep)
  if 'rating' in converted:
    value = converted['rating'].to_numpy()[keep]
  else:
    value = np.ones(user.size, np.float32)
  ratings = types.Ratings(
    user=user,
    item=item,
    value=value,
    time=np.zeros(0, np.int64) if time is None else time[keep],
    n_users=user_row.size,
    n_items=item_row.size,
  )
  return types.Table(
    ratings,
    users=converted['user'].gather(user_row),
    items=converted['item'].gather(item_row),
    origin=origin,
    duplicates=int(keep.size - np.count_nonzero(keep)),
  )


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


# --- Columns by name or position --------------------------------------------


def _read_text(path, wanted, scale, separator, header) -> types.Table:
  data = contents.text(path, contents.read(path))
  names = [column for column in wanted if isinstance(column, str)]
  text = delimited.layout(path, data, separator, names)
  place = f'line {text.skipped + 1}'
  if header is None:
    header = bool(names) or not _is_event(text.first, wanted)
  hint = '' if len(text.first) > 1 else _other_separator(path, data, text, names)
  found = text.first if header else len(text.first)
  position = _positions(path, wanted, found, place, hint)
  if header and isinstance(wanted.rating, int) and _is_event(text.first, wanted):
    raise types.DataError(
      f'{path}, {place}: the rating is {text.first[wanted.rating]!r}, so this line is'
      ' no header; give header=False'
    )
  parts = {
    part: column for part, column in position._asdict().items() if column is not None
  }
  rating = parts.get('rating')
  fields = delimited.fields(text, list(parts.values()), header, rating)
  frame = fields.frame.select(**{part: str(parts[part]) for part in parts})
  return from_frame(frame, scale, str(path), lambda row: f'line {fields.line(row)}')


def _other_separator(path, data, text, names) -> str:
  """A hint for a text that is a single column under its separator."""
  other = delimited.guess(path, data, names)
  if other not in (None, text.separator):
    return (
      f', one field; the fields look separated by {other!r}: give separator={other!r}'
    )
  return ', one field; give the separator between the fields, as in separator=...'


def _is_event(first: Sequence[str], wanted) -> bool:
  """Whether the first line has a number where the ratings are to be."""
  column = wanted.rating
  if not isinstance(column, int) or not 0 <= column < len(first):
    return False
  return columns.is_number(first[column])


def _positions(path, wanted, names: Sequence[str] | int, place, hint='') -> Wanted:
  """Column names to positions.

  Args:
    path: for messages.
    wanted: names or positions.
    names: of the columns; or how many there are, where they have no names.
    place: of the names, for messages.
    hint: what to try where there is one column only.
  """
  if not isinstance(names, int):
    names = [name.split(':')[0].strip() for name in names]
  return Wanted(
    *(
      _position(path, column, names, place, hint, optional=part in ('rating', 'time'))
      for part, column in wanted._asdict().items()
    )
  )


def _position(path, column, names, place, hint, optional) -> int | None:
  width = names if isinstance(names, int) else len(names)
  if column is None or (isinstance(column, int) and 0 <= column < width):
    return column
  if isinstance(column, int):
    raise types.DataError(
      f'{path}, {place}: there is no column {column}; the columns are 0 to {width - 1}'
      f'{hint}'
    )
  if isinstance(names, int):
    raise types.DataError(
      f'{path}: without a header the column {column!r} has no name; give its'
      ' position, from 0'
    )
  if names.count(column) == 1:
    return names.index(column)
  if column in names:
    raise types.DataError(
      f'{path}, {place}: {names.count(column)} columns are called {column!r}; give the'
      ' position of one, from 0, or rename them'
    )
  near = difflib.get_close_matches(column, names, 1, 0.5)
  if not hint:
    hint = '; leave its name empty where there is none' if optional else ''
    hint = f'; did you mean {near[0]!r}?' if near else hint
    if any(map(columns.is_number, names)):
      hint = '; if the file has no header, give header=False and positions, from 0'
  some = ', '.join(' '.join(name.split()) for name in names[:20])
  some += ', ...' * (len(names) > 20)
  raise types.DataError(
    f'{path}, {place}: there is no column {column!r}; the columns are {some}{hint}'
  )
