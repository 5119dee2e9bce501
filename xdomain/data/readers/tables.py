"""A user's own CSV, TSV, Parquet or RecBole file -> `Table`.

Every reader of this package ends in `from_frames`, so duplicates, ids and scales mean
the same everywhere.
"""

import contextlib
import difflib
import itertools
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from xdomain.data import types
from xdomain.data.readers import coding, columns, contents, delimited, parquet

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
    scan = parquet.scan(path, lambda names: _positions(path, wanted, names, 'schema'))
    return from_frames(scan, scale, str(path))
  return _read_text(path, wanted, scale, separator or None, header)


def from_frame(
  frame: 'pl.DataFrame',
  scale: tuple[float, float] | None,
  origin: str,
  where: Callable[[int], str] = lambda row: f'row {row + 1}',
) -> types.Table:
  """Builds a table from rows that are in memory; see `from_frames`."""
  return from_frames(lambda: [frame], scale, origin, where)


def from_frames(
  frames: 'Callable[[], Iterable[pl.DataFrame]]',
  scale: tuple[float, float] | None,
  origin: str,
  where: Callable[[int], str] = lambda row: f'row {row + 1}',
) -> types.Table:
  """Builds a table from rows of user, item and, if known, rating and time.

  Of several ratings by one user of one item, the last by time stays; among equal
  times, and without times, the last row. Ids count up in the order in which they
  first appear among the rows that stay.

  Args:
    frames: returns the rows in blocks, of which one at a time is in memory: columns
      `user` and `item`, maybe `rating` and `time`, of any type that `columns` converts.
    scale: lowest and highest rating; None for any.
    origin: where the rows came from, for messages.
    where: what a row, from 0, is called in messages.

  Raises:
    DataError: naming the first row that cannot be used.
  """
  for seed in itertools.count():
    with contextlib.suppress(coding.CollisionError):
      return _table(_converted(frames(), scale, origin, where, seed), origin)
  raise AssertionError  # The count has no end.


def _converted(frames, scale, origin, where, seed) -> dict[str, Any]:
  """The columns of all blocks: `Codes` of users and items, arrays of the others."""
  coders = {'user': coding.Coder(seed), 'item': coding.Coder(seed)}
  convert = {'rating': lambda column: columns.ratings(column, scale)}
  convert['time'] = columns.times
  blocks = {}
  begin = 0
  for frame in frames:
    faults = []
    for name in frame.columns:
      if name in convert:
        converted, fault = convert[name](frame[name])
        blocks.setdefault(name, []).append(converted)
      else:
        converted, fault = columns.ids(name, frame[name])
        if fault is None:
          coders[name].add(converted)
      faults.append(fault)
    columns.raise_first(faults, origin, lambda row, before=begin: where(before + row))
    begin += frame.height
  if not begin:
    raise types.DataError(f'{origin}: there are no ratings in it')
  arrays = {}
  for name in list(blocks):
    arrays[name] = np.concatenate([block.to_numpy() for block in blocks.pop(name)])
  return arrays | {name: coder.codes() for name, coder in coders.items()}


def _table(converted, origin) -> types.Table:
  users, items = converted['user'], converted['item']
  time = converted.get('time')
  keep = _last_of_each(users.code, items.code, time)
  user, users = _number(users, keep)
  item, items = _number(items, keep)
  if 'rating' in converted:
    value = converted['rating'][keep]
  else:
    value = np.ones(user.size, np.float32)
  ratings = types.Ratings(
    user=user,
    item=item,
    value=value,
    time=np.zeros(0, np.int64) if time is None else time[keep],
    n_users=len(users),
    n_items=len(items),
  )
  duplicates = int(keep.size - np.count_nonzero(keep))
  return types.Table(ratings, users, items, origin, duplicates)


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


def _number(codes, keep) -> tuple[np.ndarray, 'pl.Series']:
  """Dense numbers of the kept rows `[E]` int32, and the id of each number.

  Args:
    codes: of all rows.
    keep: `[rows]` bool.
  """
  kept = codes.code[keep]
  row = np.arange(kept.size, dtype=np.uint32)
  appears = np.full(len(codes.ids), kept.size, np.uint32)
  appears[kept[::-1]] = row[::-1]  # The last write stays.
  order = np.argsort(appears, kind='stable')
  order = order[: np.count_nonzero(appears < kept.size)]
  number = np.empty(len(codes.ids), np.int32)
  number[order] = np.arange(order.size, dtype=np.int32)
  return number[kept], codes.ids.gather(order)


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
  named = {part: str(parts[part]) for part in parts}
  return from_frames(
    lambda: (frame.select(**named) for frame in fields.frames()),
    scale,
    str(path),
    lambda row: f'line {fields.line(row)}',
  )


def _other_separator(path, data, text, names) -> str:
  """A hint for a text that is a single column under its separator."""
  other = delimited.guess(path, data, names)
  if other not in (None, text.separator):
    return (
      f', one field; the fields look separated by {other!r}: give separator={other!r}'
      ' or, where files differ, none'
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
  found = Wanted(
    *(
      _position(path, column, names, place, hint, optional=part in ('rating', 'time'))
      for part, column in wanted._asdict().items()
    )
  )
  for one, other in itertools.combinations(Wanted._fields, 2):
    if getattr(found, one) == getattr(found, other) is not None:
      raise types.DataError(
        f'{path}, {place}: the {one} and the {other} are one column,'
        f' {getattr(wanted, one)!r}; name another for one of them'
      )
  return found


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
