"""Delimited text -> its fields, such that every line of the text is accounted for.

A text in which each line is a record of as many fields as the first, with quotes as
RFC 4180 has them, is parsed by polars; whether it is one, a regular expression over
all lines decides. Any other text is parsed record by record: with line breaks inside
quoted fields, a blank before a quote, or quotes escaped by a backslash. What is none
of these is refused with the first line that does not fit. No row is lost, filled or
cut.
"""

import array
import contextlib
import csv
import io
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xdomain.data.types import DataError

if TYPE_CHECKING:
  import polars as pl

GUESSED = (',', ';', '\t', '|', '::')
NAMES = {'tab': '\t', r'\t': '\t', 'comma': ',', 'semicolon': ';', 'space': ' '}
_BY_EXTENSION = {'.csv': ',', '.tsv': '\t', '.inter': '\t'}
_PACKED = ('.gz', '.bz2', '.xz', '.zip')
_SAMPLE = 1 << 16  # bytes that a separator is guessed from
BLOCK = 1 << 26  # bytes that polars parses at a time
_BATCH = 100_000  # records that are Python objects at one time
# Bytes that no text holds, to stand for a separator of several characters.
_SPARE = (0x1F, 0x1E, 0x1D, 0x1C, *range(1, 9), *range(0x0E, 0x1C))


class Text(NamedTuple):
  """A delimited text and its layout."""

  path: object  # for messages
  data: bytes  # as `contents.text` returns it, from the first record on
  separator: str
  skipped: int  # lines before the first record
  first: list[str]  # the fields of the first record

  @property
  def width(self) -> int:
    return len(self.first)


class Fields(NamedTuple):
  """Some columns of a text."""

  # The rows in blocks: String columns, named by position; null where empty.
  frames: 'Callable[[], Iterable[pl.DataFrame]]'
  line: Callable[[int], int]  # of a row, from 1

  def frame(self) -> 'pl.DataFrame':
    """All rows at once."""
    import polars as pl

    return pl.concat(self.frames())


def layout(
  path: pathlib.Path, data: bytes, separator: str | None, names: Sequence[str]
) -> Text:
  """The separator and the first record of a text.

  Args:
    path: for messages, and for the separator that its extension suggests.
    data: the text, as `contents.text` returns it.
    separator: one or several characters; None to guess.
    names: columns that a header would have, which helps to guess.

  Raises:
    DataError: the separator cannot be guessed, or the first line is blank.
  """
  skipped = 0
  if declared := re.match(rb'"?sep=([^\r\n"]{1,2})"?\r?\n', data):
    separator = separator or declared[1].decode(errors='replace')
    data, skipped = data[declared.end() :], 1
  if not _line_at(data, 0).strip():
    raise DataError(f'{path}, line {skipped + 1}: the line is blank; begin with data')
  separator = NAMES.get(separator or '', separator) or _guess_or_raise(
    path, data, names
  )
  text = Text(path, data, separator, skipped, [])
  return text._replace(first=_first(text))


def _line_at(data, begin) -> bytes:
  """The line that begins there, without a copy of what follows."""
  end = data.find(b'\n', begin)
  return data[begin:] if end < 0 else data[begin:end]


def guess(path: pathlib.Path, data: bytes, names: Sequence[str]) -> str | None:
  """The separator that gives the first lines the same number of fields.

  Of several, one under which the first line holds `names`; then the one that gives
  most fields; then the one that the extension stands for.
  """
  sample = data[:_SAMPLE]
  if len(data) > _SAMPLE:
    sample = sample.rpartition(b'\n')[0] or sample
  text = re.sub(r'"[^"]*"', '', sample.decode(errors='replace'))
  lines = [line for line in text.splitlines() if line.strip()]
  header = sample.split(b'\n', 1)[0].decode(errors='replace')
  usual = _usual(path)

  def merit(separator):
    counts = {line.count(separator) for line in lines}
    found = {_name(each) for each in header.split(separator)}
    fields = counts.pop() if len(counts) == 1 else 0
    return len(found & set(names)), fields, separator == usual

  best = max(GUESSED, key=merit)
  named, fields, _ = merit(best)
  return best if named > 1 or fields else usual


def _name(field):
  return field.strip().strip('"').split(':')[0].strip()


def _usual(path) -> str | None:
  suffixes = [suffix.lower() for suffix in path.suffixes]
  suffixes = [suffix for suffix in suffixes if suffix not in _PACKED]
  return _BY_EXTENSION.get(suffixes[-1]) if suffixes else None


def _guess_or_raise(path, data, names):
  if (separator := guess(path, data, names)) is None:
    raise DataError(
      f'{path}: the separator between its fields cannot be guessed; give one'
      " character or several, as in separator=';', or 'tab'"
    )
  return separator


def fields(
  text: Text, columns: Sequence[int], header: bool, number: int | None = None
) -> Fields:
  """The named columns of all records but a header.

  Args:
    text: with its layout.
    columns: positions, from 0.
    header: whether the first record is one.
    number: the position of a column of numbers, if there is one; it helps to tell
      a quote that is never closed from a field with line breaks.

  Raises:
    DataError: with the first line that does not fit.
  """
  columns = sorted(set(columns))
  quoted = text.separator != '\t' and b'"' in text.data
  quote = '"' if quoted else None
  if len(text.separator.encode()) > 1:
    text, quote = _one_byte(text), None
  quick = _quick(text, columns, header, quote)
  return quick or _thorough(text, columns, header, number, quote)


def _one_byte(text):
  """The text with one spare byte for each separator of several."""
  spare = _spare_byte(text.data)
  if spare is None:
    raise DataError(
      f'{text.path}: holds control characters; use a separator of one character'
    )
  data = text.data.replace(text.separator.encode(), spare)
  return text._replace(data=data, separator=spare.decode())


def _spare_byte(data):
  return next((bytes([b]) for b in _SPARE if bytes([b]) not in data), None)


# --- By polars --------------------------------------------------------------


def _quick(text, columns, header, quote) -> Fields | None:
  """The fields by polars; None where a line is no record of the right width."""
  import polars as pl

  blocks = list(_blocks(text.data))
  counts = [_lines_of_width(text.data[begin:end], text, quote) for begin, end in blocks]
  sizes = [n for n in counts if n is not None]
  counted = len(sizes) == len(blocks)
  if not counted:
    sizes = []
    for begin, end in blocks:
      n = _records_in(text, text.data[begin:end], quote, sum(sizes))
      if n is None:
        return None
      sizes.append(n)

  def frames():
    for k, ((begin, end), n) in enumerate(zip(blocks, sizes)):
      titled = header and not begin
      data = _without_blank_lines(text.data[begin:end])
      if titled:
        data = data.partition(b'\n')[2]
      frame = None
      if n == titled:
        frame = pl.DataFrame(schema=_schema(text.width))
      else:  # A line with too many fields is refused, also where another lacks some.
        with contextlib.suppress(pl.exceptions.PolarsError):
          frame = _read_csv(data, text.separator, quote, text.width)
      # A line with too few fields has none in the last column.
      if counted and (frame is None or frame[str(text.width - 1)].null_count()):
        n = _records_in(text, text.data[begin:end], quote, sum(sizes[:k]))
      if n is not None and frame is not None and frame.height == n - titled:
        yield frame.select(map(str, columns))
      else:  # Polars and the check differ: trust neither.
        before = text.skipped + text.data.count(b'\n', 0, begin)
        block = text._replace(data=text.data[begin:end], skipped=before)
        yield from _thorough(block, columns, titled, None, quote).frames()

  return Fields(frames, lambda row: _line(text, row + header))


def _lines_of_width(data, text, quote) -> int | None:
  """The number of lines of a block if they have the right number of fields on average.

  None where they do not, where there may be quotes, and where a `\r` ends no line.
  """
  if quote is not None or data.count(b'\r') != data.count(b'\r\n'):
    return None
  data = _without_blank_lines(data)
  characters = np.frombuffer(data, np.uint8)  # `bytes.count` takes five times as long.
  n = np.count_nonzero(characters == ord('\n')) + (not data.endswith(b'\n'))
  separators = np.count_nonzero(characters == ord(text.separator))
  return int(n) if separators == n * (text.width - 1) else None


def _blocks(data) -> Iterator[tuple[int, int]]:
  """The bounds of blocks of whole lines; blank lines belong to the block before."""
  begin = 0
  while begin < len(data):
    end = data.find(b'\n', begin + BLOCK) + 1 or len(data)
    while data[end : end + 1] in (b'\n', b'\r'):
      end += 1
    yield begin, end
    begin = end


def _records_in(text, data, quote, before) -> int | None:
  """The number of lines of a block; None where one is no record of the right width.

  Raises:
    DataError: naming that line, if it cannot be a part of a quoted field.
  """
  data = _without_blank_lines(data)
  if (spare := _spare_byte(data)) is None:
    return None
  lines = _read_csv(data, spare.decode(), None, 1)['0']
  wrong = ~_fits(lines, text.separator, quote, text.width)
  if not wrong.any():
    return lines.len()
  if quote is None and b'\r' not in text.data.replace(b'\r\n', b''):
    row = wrong.arg_true()[0]
    found = 1 + (lines[row] or '').count(text.separator)
    raise _misfit(text, _line(text, before + row), found)
  return None


def _without_blank_lines(data) -> bytes:
  """The lines of a block that are not blank; there may be none in quotes."""
  if b'\n\n' in data or (b'\r' in data and b'\n\r\n' in data):
    return re.sub(rb'\n(?:\r?\n)+', b'\n', data)
  return data


def _schema(width):
  import polars as pl

  return {str(column): pl.String for column in range(width)}


def _read_csv(data, separator, quote, width) -> 'pl.DataFrame':
  import polars as pl

  return pl.read_csv(
    data,
    has_header=False,
    separator=separator,
    quote_char=quote,
    schema=_schema(width),
  )


def _fits(lines, separator, quote, width) -> 'pl.Series':
  r"""Whether each line is a record of `width` fields, without a lone `\r`."""
  if quote is None:
    right = lines.str.count_matches(separator, literal=True) == width - 1
    return (right & ~lines.str.contains('\r', literal=True)).fill_null(False)
  mark = re.escape(separator)
  field = rf'(?:[^"\r{mark}]*|"(?:[^"\r]|"")*")'
  if width > 64:  # A long pattern takes long to compile; quotes are taken out instead.
    bare = lines.str.replace_all(rf'(^|{mark})"(?:[^"\r]|"")*"', '$1')
    right = bare.str.count_matches(separator, literal=True) == width - 1
    return (right & ~bare.str.contains('["\r]')).fill_null(False)
  return lines.str.contains(
    f'^{field}' + f'{mark}{field}' * (width - 1) + '$'
  ).fill_null(False)


def _line(text, row) -> int:
  """The line of the `row`-th line that is not blank, from 0."""
  for line, raw in enumerate(io.BytesIO(text.data), start=text.skipped + 1):
    if raw.strip(b'\r\n'):
      row -= 1
      if row < 0:
        return line
  raise IndexError(row)


def _misfit(text, line, found):
  mark = repr(text.separator) if text.separator.isprintable() else 'the separator'
  return DataError(
    f'{text.path}, line {line}: {found} fields where line {text.skipped + 1} has'
    f' {text.width}; add what is missing, or quote fields that contain {mark}'
  )


# --- Record by record -------------------------------------------------------


class _Misread(Exception):
  """A record that does not fit a dialect: the line and a sentence."""


def _thorough(text, columns, header, number, quote) -> Fields:
  dialects = [{}, {'escapechar': '\\'}] if b'\\"' in text.data else [{}]
  errors = []
  for dialect in dialects:
    try:
      return _parsed(text, columns, header, number, quote, dialect)
    except _Misread as error:
      errors.append(error)
  line, sentence = max(error.args for error in errors)
  raise DataError(f'{text.path}, line {line}: {sentence}')


def _parsed(text, columns, header, number, quote, dialect) -> Fields:
  import polars as pl

  schema = {str(column): pl.String for column in columns}
  frames, rows, lines = [pl.DataFrame(schema=schema)], [], array.array('q')
  records = _records(text, quote, dialect)
  if header:
    next(records)
  for line, fields, raw in records:
    if not fields:
      continue
    if len(fields) != text.width:
      raise _Misread(line, str(_misfit(text, line, len(fields))).split(': ', 1)[1])
    if len(raw) > 1 and _are_records(raw, text, number):
      raise _Misread(
        line,
        f'a quoted field extends to line {line + len(raw) - 1}, and each of these lines'
        ' looks like a row of its own; look for a quote that is not closed',
      )
    rows.append([fields[column] or None for column in columns])
    lines.append(line)
    if len(rows) == _BATCH:
      frames.append(pl.DataFrame(rows, schema, orient='row'))
      rows = []
  frames.append(pl.DataFrame(rows, schema, orient='row'))
  return Fields(lambda: frames, lambda row: lines[row])


def _are_records(raw, text, number) -> bool:
  """Whether the lines of one record could each be a record of their own."""
  for line in raw:
    fields = line.rstrip('\r\n').split(text.separator)
    if len(fields) != text.width:
      return False
    if number is not None and not _looks_like_number(fields[number]):
      return False
  return True


def _looks_like_number(field) -> bool:
  return bool(re.fullmatch(r'\s*"?\s*[-+]?\d+(?:[.,]\d+)?\s*"?\s*', field))


def _records(text, quote, dialect) -> Iterator[tuple[int, list[str], list[str]]]:
  """Each record's first line, its fields ([] if blank) and its lines."""
  raw = []

  def kept(stream):
    for line in stream:
      raw.append(line)
      yield line

  stream = io.TextIOWrapper(io.BytesIO(text.data), 'utf-8', newline='\n')
  reader = csv.reader(
    kept(stream),
    delimiter=text.separator,
    quotechar=quote or '"',
    quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
    skipinitialspace=text.separator != ' ' and quote is not None,
    strict=True,
    **dialect,
  )
  while True:
    line = text.skipped + reader.line_num + 1
    try:
      fields = next(reader)
    except StopIteration:
      return
    except csv.Error as error:
      raise _Misread(line, _in_words(str(error))) from error
    yield line, fields, raw
    raw.clear()


def _in_words(error) -> str:
  """A sentence for an error of the csv module."""
  if 'expected after' in error:
    return 'a quote inside a quoted field; write it twice ("") or take it away'
  if 'end of data' in error:
    return 'a quote that opens in this line is never closed'
  if 'new-line character' in error:
    return 'a carriage return inside a field; end lines with a line feed'
  if 'field limit' in error:
    return (
      'a field of more than 131,072 characters; look for a quote that is not closed'
    )
  return error


def _first(text) -> list[str]:
  """The fields of the first record."""
  if len(text.separator.encode()) > 1:
    line = _line_at(text.data, 0).decode().rstrip('\r')
    return line.split(text.separator)
  quote = None if text.separator == '\t' else '"'
  try:
    return next(_records(text, quote, {}))[1]
  except _Misread as error:
    first = error
  try:
    return next(_records(text, quote, {'escapechar': '\\'}))[1]
  except _Misread:
    line, sentence = first.args
    raise DataError(f'{text.path}, line {line}: {sentence}') from first
