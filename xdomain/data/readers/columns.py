"""Columns as a file holds them -> ids, ratings and times.

Each function takes a polars Series of any type and returns the converted one, with
the first row that cannot be converted, if there is one.
"""

import contextlib
import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xdomain.data.types import DataError

if TYPE_CHECKING:
  import polars as pl

# The scales that ratings usually have, narrow before wide.
SCALES = ((0, 1), (1, 5), (0.5, 5), (0, 5), (1, 10), (0, 10), (-10, 10), (0, 100))
# Blanks around an id are no part of it: the white space of Unicode, and characters
# without width, such as the byte order mark of a file that was put behind another.
BLANKS = (
  '\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007'
  '\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000\u200b\u2060\ufeff'
)
# Floats beyond these skip whole numbers, so ids that differ may have become equal.
_EXACT = {'Float32': 2**24, 'Float64': 2**53}
_LARGEST = float(np.finfo(np.float32).max)
_ROUNDED = r'^\d(?:[.,]\d+)?[eE]\+\d+$'  # a long number as spreadsheets display it
# Matches a part of each id that is changed or refused: it is empty, holds something
# else than letters of ASCII, or may be such a number.
_UNUSUAL = r'[^!-~]|^$|^\d(?:[.,]\d+)?[eE]\+\d+$'
_DECIMAL_COMMA = r'^([-+]?\d+),(\d+)$'
_DATE = (
  r'^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:\d{2})?(?:[.,]\d+)?)?'
  r'\s?(Z|[-+]\d{2}(?::?\d{2})?)?$'
)


class Fault(NamedTuple):
  """The first row of a column that cannot be used, and why."""

  row: int
  sentence: str


def raise_first(
  faults: Iterable[Fault | None], origin: str, where: Callable[[int], str]
) -> None:
  """Raises a DataError for the fault of the earliest row, if there is any."""
  faults = [fault for fault in faults if fault is not None]
  if faults:
    row, sentence = min(faults, key=lambda fault: fault.row)
    raise DataError(f'{origin}, {where(row)}: {sentence}')


def ids(name: str, column: 'pl.Series') -> tuple['pl.Series', Fault | None]:
  """Ids as text: without blanks around them, in Unicode's composed form (NFC).

  Whole numbers in a column of floats, which pandas makes of integers beside missing
  values, are written without '.0'.
  """
  import polars as pl

  kind = column.dtype
  if kind.is_nested() or kind in (pl.Object, pl.Null, pl.Duration):
    return column, Fault(0, _wrong_type(name, column))
  if kind.is_float():
    whole = column.is_finite() & (column == column.floor())
    exact = column.abs() <= _EXACT.get(str(kind), 2**11)
    bad = _first(column.is_not_null() & ~(whole & exact))
    if bad is not None:
      return column, Fault(
        bad,
        f'the {name} is {column[bad]!r} in a column of floats, which cannot hold every'
        ' id exactly; save the ids as integers or text',
      )
    column = column.cast(pl.Int64)
  text = column.cast(pl.String, strict=False)
  if not text.null_count() and not text.str.contains(_UNUSUAL).any():
    return text, None  # A third of the time of what follows.
  text = text.str.strip_chars(BLANKS)
  if not (text.str.len_bytes() == text.str.len_chars()).all():
    text = text.str.normalize('NFC')
  faults = [
    _at(text.is_null() | (text == ''), lambda row: missing(name)),
    _at(
      text.str.contains(r'[\r\n]'),
      lambda row: f'the {name} continues on the next line; look for a stray quote',
    ),
    _at(
      text.str.contains(_ROUNDED),
      lambda row: (
        f'the {name} is {text[row]!r}, which a spreadsheet has rounded; export the'
        ' ids as text'
      ),
    ),
  ]
  return text, _earliest(faults)


def missing(name: str) -> str:
  return f'the {name} is missing; fill it in or leave the row out'


def ratings(
  column: 'pl.Series', scale: tuple[float, float] | None
) -> tuple['pl.Series', Fault | None]:
  """Ratings as float32; text may have a decimal comma.

  Args:
    column: of numbers or text.
    scale: lowest and highest rating, or None to take any number.
  """
  import polars as pl

  value, given, fault = _numbers('rating', column)
  if scale is None or value.dtype != pl.Float64:
    return value.cast(pl.Float32, strict=False), fault
  low, high = (float(np.float32(end)) for end in scale)
  value32 = value.cast(pl.Float32, strict=False)
  off = (value.is_finite() & ~value32.is_between(low, high)).fill_null(False)
  outside = _at(off, lambda row: _off(given[row], scale, value))
  return value32, _earliest([fault, outside])


def _off(given, scale, value) -> str:
  low, high = scale
  wide = usual_scale(float(value.min()), float(value.max()))
  return (
    f'the rating {given} is outside the scale {low:g} to {high:g}; correct it, or give'
    f' the lowest and highest rating, as in scale={wide}'
  )


def usual_scale(lowest: float, highest: float) -> tuple[float, float]:
  """The narrowest usual scale that holds all ratings of a file, else their range."""
  for low, high in SCALES:
    if low <= lowest and highest <= high:
      return float(low), float(high)
  return lowest, highest


def is_number(text: str) -> bool:
  """Whether a field is a number, as `ratings` reads it."""
  import polars as pl

  return _numbers('rating', pl.Series([text], dtype=pl.String))[2] is None


def _numbers(name, column):
  """Numbers as float64, the column as it was given, and the first fault."""
  import polars as pl

  kind = column.dtype
  if kind == pl.String or isinstance(kind, pl.Categorical | pl.Enum):
    given = column.cast(pl.String)
    value = given.cast(pl.Float64, strict=False)
    if value.null_count() > given.null_count():
      given = given.str.strip_chars()  # Takes as long as all the rest.
      value = given.cast(pl.Float64, strict=False)
    if value.null_count() > given.null_count():
      comma = given.str.replace(_DECIMAL_COMMA, '${1}.${2}')
      value = value.fill_null(comma.cast(pl.Float64, strict=False))
  elif kind.is_numeric() or kind == pl.Boolean:
    given, value = column, column.cast(pl.Float64)
  else:
    return column, column, Fault(0, _wrong_type(name, column))
  bad = _first(~(value.abs() <= _LARGEST).fill_null(False))
  if bad is None:
    return value, given, None
  return value, given, Fault(bad, _no_number(name, given[bad]))


def numbers(name: str, column: 'pl.Series') -> tuple['pl.Series', Fault | None]:
  """Numbers as float64; text may have a decimal comma."""
  value, _, fault = _numbers(name, column)
  return value, fault


def _no_number(name, given) -> str:
  if given is None or not str(given).strip():
    return missing(name)
  what = 'is not a number'
  with contextlib.suppress(ValueError):
    what = 'is too large' if math.isfinite(float(given)) else what
  return f'the {name} is {str(given)[:40]!r}, which {what}'


def times(column: 'pl.Series') -> tuple['pl.Series', Fault | None]:
  """Times as int64: numbers as they are, dates in seconds since 1970 (UTC).

  Text may be numbers or ISO 8601 dates, with or without a time and an offset from
  UTC. Fractions of a second are dropped.
  """
  import polars as pl

  kind = column.dtype
  if kind in (pl.Date, pl.Datetime):
    zone = getattr(kind, 'time_zone', None)
    moment = column.dt.convert_time_zone('UTC') if zone else column.cast(pl.Datetime)
    return moment.dt.epoch('s'), _at(column.is_null(), lambda row: missing('time'))
  if kind == pl.String:
    given, value = column, column.cast(pl.Int64, strict=False)
    if value.null_count() > given.null_count():
      given = given.str.strip_chars()
      value = given.cast(pl.Int64, strict=False)
    if value.null_count() > given.null_count():
      value = value.fill_null(_whole(given.cast(pl.Float64, strict=False)))
      value = value.fill_null(_seconds(given))
  elif kind.is_integer() or kind == pl.Boolean:
    given, value = column, column.cast(pl.Int64, strict=False)
  elif kind.is_numeric():
    given, value = column, _whole(column.cast(pl.Float64))
  else:
    return column, Fault(0, _wrong_type('time', column))
  return value, _at(value.is_null(), lambda row: _no_time(given[row]))


def _whole(value):
  """Floats as int64; null where they are beyond it or not finite."""
  import polars as pl

  inside = (value.is_finite() & (value.abs() < 2.0**63)).fill_null(False)
  kept = value.to_frame('t').select(pl.when(inside).then(pl.col('t')))['t']
  return kept.cast(pl.Int64, strict=False)


def _seconds(text):
  """Seconds since 1970 of ISO 8601 dates; null where a text is none."""
  import polars as pl

  part = text.to_frame('t').select(
    *(pl.col('t').str.extract(_DATE, group).alias(str(group)) for group in range(1, 5))
  )
  zone = pl.col('4').str.replace('Z', '+00:00').str.replace(
    r'^([-+]\d{2}):?(\d{2})?$', '${1}:${2}'
  ).str.replace(':$', ':00').fill_null('+00:00')  # fmt: skip
  whole = pl.concat_str(
    pl.col('1'),
    pl.lit('T'),
    pl.col('2').fill_null('00:00'),
    pl.col('3').fill_null(':00'),
    zone,
  )
  moment = whole.str.to_datetime('%Y-%m-%dT%H:%M:%S%:z', strict=False, time_unit='us')
  return part.select(moment.dt.epoch('s'))['1']


def _no_time(given) -> str:
  if given is None or not str(given).strip():
    return missing('time')
  return (
    f'the time is {str(given)[:40]!r}, which is neither a number below 2**63 nor a date'
    ' such as 2021-03-04 or 2021-03-04T05:06:07Z'
  )


def _wrong_type(name, column) -> str:
  return f'the {name} is of type {column.dtype}, which is neither text nor a number'


def _first(bad) -> int | None:
  return bad.arg_max() if bad.fill_null(True).any() else None


def _at(bad, sentence) -> Fault | None:
  bad = bad.fill_null(True)
  if not bad.any():
    return None
  row = bad.arg_max()
  return Fault(row, sentence(row))


def _earliest(faults) -> Fault | None:
  faults = [fault for fault in faults if fault is not None]
  return min(faults, key=lambda fault: fault.row, default=None)
