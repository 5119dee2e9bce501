"""Damaged inputs for every reader: each is read right or refused in one line.

An input is a small file of one of the kinds in `KINDS`, damaged by one to three random
changes that its number and the seed decide. Verdicts:

  equal      it was read, and holds the rows that a plain parser finds in it
  altered    it was read, and a plain parser cannot tell what it should hold (binary
             files have no checksum for every byte)
  refused    one line, of a `DataError`, that names the file
  WRONG      any other exception, other rows than the plain parser's, over 10 seconds,
             over 2 GB, the start of another program or of pickled code, or the end of
             the process

The process that reads is replaced when it dies.
"""

import bz2
import collections
import csv
import gzip
import io
import json
import lzma
import multiprocessing
import pathlib
import random
import resource
import signal
import sys
import tempfile
import traceback
import unicodedata
import warnings
import zipfile
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from xdomain.data import types
from xdomain.data.readers import columns

LIMIT = 10  # seconds for one input
MEMORY = 2 << 30  # bytes that reading may take at most


class Verdict(NamedTuple):
  word: str
  why: str = ''


# --- Inputs -----------------------------------------------------------------


def rows(n=40):
  """Rows of user, item, rating and time."""
  return [(f'u{k % 9}', f'i{k * 7 % 23}', k % 5 + 1, 1000 + k) for k in range(n)]


def text(separator=',', quote='', title=False, decimal=False) -> bytes:
  """A text of `rows`, with a header."""
  lines = [('user', 'item', *(['title'] if title else []), 'rating', 'time')]
  for user, item, rating, when in rows():
    value = f'{rating - 1},5' if decimal and rating > 1 else str(rating)
    middle = [f'a {separator if quote else "-"} "b"'] if title else []
    middle = [each.replace('"', '""' if quote else '') for each in middle]
    lines.append((user, item, *middle, value, str(when)))
  return '\n'.join(
    separator.join(f'{quote}{field}{quote}' for field in line) for line in lines
  ).encode()


def parquet() -> bytes:
  return _as_parquet(rows(), ('user', 'item', 'rating', 'time'))


def vectors() -> bytes:
  return _as_parquet([(f'u{k}', k / 7, -k) for k in range(20)], ('user', 'a', 'b'))


def _as_parquet(rows, names):
  import polars as pl

  file = io.BytesIO()
  pl.DataFrame(rows, names, orient='row').write_parquet(file)
  return file.getvalue()


def reviews(literal=False) -> bytes:
  names = ('reviewerID', 'asin', 'overall', 'unixReviewTime')
  lines = [dict(zip(names, row), reviewText='good "x"') for row in rows()]
  return '\n'.join((str if literal else json.dumps)(line) for line in lines).encode()


def zipped(data, name='films.csv') -> bytes:
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
    archive.writestr(name, data)
  return file.getvalue()


def side(separator=',') -> bytes:
  lines = ['user,a,b', *(f'u{k},{k / 7:.3f},{-k}' for k in range(20))]
  return '\n'.join(lines).replace(',', separator).encode()


def movielens() -> bytes:
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
    rated = ''.join(f'{k % 9 + 1}::{k % 7 + 1}::{k % 5 + 1}::{k}\n' for k in range(63))
    archive.writestr('ml-1m/ratings.dat', rated)
    users = ''.join(f'{k}::F::1::10::1000\n' for k in range(1, 10))
    archive.writestr('ml-1m/users.dat', users)
    movies = ''.join(f'{k}::Film {k} (1990)::Action|Drama\n' for k in range(1, 8))
    archive.writestr('ml-1m/movies.dat', movies)
  return file.getvalue()


def saved_pair() -> bytes:
  from xdomain.data import cache, synthetic

  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'pair.npz'
    cache.save(synthetic.pair(0, users=9, source=9, target=9, source_ratings=40,
                              target_ratings=40), path)  # fmt: skip
    return path.read_bytes()


class _Bomb:
  """An object that starts a program where it is unpickled."""

  def __reduce__(self):
    import os

    return os.system, ('true',)


def pickled() -> bytes:
  """A pair's file whose arrays are pickled objects."""
  file = io.BytesIO()
  names = ('about', 'source_user', 'ids_users')
  arrays = {name: np.array([_Bomb()], object) for name in names}
  np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
  return file.getvalue()


class Kind(NamedTuple):
  """A kind of input."""

  name: str  # of the file
  made: Callable[[], bytes]
  reader: str  # one of `READERS`
  plain: str | None = None  # the separator, where a plain parser can check it
  pack: Callable[[bytes], bytes] | None = None  # after the damage


KINDS = {
  'csv': Kind('f.csv', text, 'table', ','),
  'quoted csv': Kind('f.csv', lambda: text(quote='"', title=True), 'table', ','),
  'csv with titles': Kind('f.csv', lambda: text(title=True), 'table', ','),
  'tsv': Kind('f.tsv', lambda: text('\t', title=True), 'table', '\t'),
  'semicolons': Kind('f.csv', lambda: text(';', decimal=True), 'table', ';'),
  'inter': Kind('f.inter', lambda: text('\t'), 'table', '\t'),
  '::': Kind('f.dat', lambda: text('::'), 'table', '::'),
  'damaged csv in gzip': Kind('f.csv.gz', text, 'table', ',', gzip.compress),
  'gzip': Kind('f.csv.gz', lambda: gzip.compress(text(), mtime=0), 'table'),
  'bzip2': Kind('f.csv.bz2', lambda: bz2.compress(text()), 'table'),
  'xz': Kind('f.csv.xz', lambda: lzma.compress(text()), 'table'),
  'zip': Kind('f.zip', lambda: zipped(text()), 'table'),
  'parquet': Kind('f.parquet', parquet, 'table'),
  'vectors csv': Kind('s.csv', side, 'side'),
  'vectors tsv': Kind('s.tsv', lambda: side('\t'), 'side'),
  'vectors parquet': Kind('s.parquet', vectors, 'side'),
  'reviews json': Kind('reviews_X.json', reviews, 'amazon'),
  'reviews python': Kind('reviews_X.json', lambda: reviews(True), 'amazon'),
  'reviews gzip': Kind('reviews_X.json.gz', reviews, 'amazon', None, gzip.compress),
  'ratings amazon': Kind(
    'ratings_X.csv', lambda: text().split(b'\n', 1)[1], 'amazon', None
  ),
  'movielens': Kind('ml-1m.zip', movielens, 'movielens'),
  'cached pair': Kind('pair.npz', saved_pair, 'cache'),
  'pickled pair': Kind('pair.npz', pickled, 'cache'),
}
TOKENS = (
  *(b'"', b'""', b'\\"', b"'", b',', b';', b'\t', b'::', b'|', b'{', b'}', b'[', b'#'),
  *(b'\n', b'\n\n', b'\r', b'\r\n', b' ', b'  ', b'\x00', b'\xff', b'\xc3', b'\xe9'),
  *(b'\xef\xbb\xbf', b'\xc2\xa0', 'e\u0301'.encode(), b'\\ud800', b'x' * 200_000),
  *(b'nan', b'inf', b'-1', b'1e400', b'1e30', b'9' * 20, b'7.65E+16', b'0.5', b'1,5'),
  *(b'True', b'null', b'None', b'[' * 3000, b'{"a":' * 1500, b'=1+1', b'user', b'.0'),
  *(b'2021-03-04', b'2021-13-45T99:99:99Z', b'sep=;\n'),
)


def damaged(data: bytes, draw: random.Random) -> bytes:
  """The data after one to three random changes."""
  changes = (_insert, _insert, _insert, _flip, _delete, _repeat, _cut, _shuffle)
  for _ in range(draw.choice((1, 1, 1, 2, 3))):
    data = draw.choice(changes)(data, draw)
  return data


def _place(data, draw):
  return draw.randrange(len(data) + 1)


def _insert(data, draw):
  at = _place(data, draw)
  return data[:at] + draw.choice(TOKENS) + data[at:]


def _flip(data, draw):
  at = _place(data, draw)
  return data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :]


def _delete(data, draw):
  at = _place(data, draw)
  return data[:at] + data[at + draw.choice((1, 1, 2, 5, 20, 1000)) :]


def _repeat(data, draw):
  at = _place(data, draw)
  return data[: at + draw.choice((1, 1, 2, 5, 20, 1000))] + data[at:]


def _cut(data, draw):
  at = _place(data, draw)
  return data[:at] if draw.random() < 0.5 else data[at:]


def _shuffle(data, draw):
  """All lines but the first in another order."""
  first, *lines = data.split(b'\n')
  draw.shuffle(lines)
  return b'\n'.join([first, *lines])


def an_input(seed: int, number: int) -> tuple[str, bytes]:
  """The kind of an input, and the damaged data before it is packed."""
  draw = random.Random(f'{seed}-{number}')
  name = draw.choice(list(KINDS))
  return name, damaged(KINDS[name].made(), draw)


# --- Reading ----------------------------------------------------------------


def _read_table(path):
  from xdomain.data.readers import tables

  return tables.read(path, time='time')


def _read_side(path):
  from xdomain.data.readers import side_vectors

  return side_vectors.read(path)


def _read_amazon(path):
  from xdomain.data.readers import amazon

  if path.suffix != '.csv':
    for _ in amazon.texts(path):
      pass
  return amazon.read(path)


def _read_movielens(path):
  from xdomain.data.readers import movielens as movielens_files

  return movielens_files.read(path)


def _read_cache(path):
  from xdomain.data import cache

  return cache.load(path)


READERS = {
  'table': _read_table,
  'side': _read_side,
  'amazon': _read_amazon,
  'movielens': _read_movielens,
  'cache': _read_cache,
}


class _TooLong(Exception):
  pass


class _RunsCode(BaseException):
  pass


_FORBIDDEN = ('pickle.find_class', 'os.system', 'os.exec', 'subprocess.Popen')
_hook: dict[str, bool] = {}


def forbid_code() -> None:
  """Raises where this process unpickles a class or starts a program, for good."""

  def audit(event, args):
    del args
    if _hook['on'] and event in _FORBIDDEN:
      raise _RunsCode(event)

  if not _hook:
    _hook['on'] = True
    sys.addaudithook(audit)


def judge(name: str, data: bytes, folder: pathlib.Path) -> Verdict:
  """Reads one input of a kind and returns the verdict."""
  kind = KINDS[name]
  path = folder / kind.name
  path.write_bytes(kind.pack(data) if kind.pack else data)

  def too_long(signum, frame):
    del signum, frame
    raise _TooLong

  before = signal.signal(signal.SIGALRM, too_long)
  signal.setitimer(signal.ITIMER_REAL, LIMIT)
  try:
    read = READERS[kind.reader](path)
  except types.DataError as error:
    return _of_message(str(error), path)
  except _TooLong:
    return Verdict('WRONG', f'takes over {LIMIT} s')
  except BaseException as error:  # A panic of polars is no Exception.
    if isinstance(error, KeyboardInterrupt):
      raise
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f'{pathlib.Path(last.filename).name}:{last.lineno}'
    return Verdict('WRONG', f'{type(error).__name__} in {where}: {error}'[:200])
  finally:
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
  if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 > MEMORY:
    return Verdict('WRONG', 'takes over 2 GB')
  if kind.reader == 'amazon':
    return _by_lines(read, data, path.suffix == '.csv')
  return _against_plain(read, data, kind.plain)


def _of_message(message, path) -> Verdict:
  if '\n' in message or str(path) not in message:
    return Verdict(
      'WRONG', f'a message of several lines, or without the file: {message}'
    )
  return Verdict('refused')


def _by_lines(read, data, is_csv) -> Verdict:
  """Whether a table holds a rating for each line that is not blank, with its ids."""
  lines = [line for line in data.decode('utf-8-sig').split('\n') if line.strip()]
  n = read.ratings.user.size + read.duplicates
  if n != len(lines) and b'"\n' not in data and b'\r' not in data:
    return Verdict('WRONG', f'{n} ratings are read of {len(lines)} lines')
  if is_csv:
    return Verdict('altered')
  expected = set()
  for line in lines:
    try:
      pairs = json.loads(line, object_pairs_hook=list)
    except ValueError:
      return Verdict('altered')
    review = dict(pairs)
    if len({'reviewerID', 'asin'} & set(review)) + sum(
      name not in ('reviewerID', 'asin') for name, _ in pairs
    ) != len(pairs):
      return Verdict('WRONG', 'a field that is given twice is read')
    expected.add((_id(str(review['reviewerID'])), _id(str(review['asin']))))
  if _pairs(read) != expected:
    return Verdict('WRONG', f'other ids: {sorted(_pairs(read) ^ expected)[:2]}')
  return Verdict('equal')


def _pairs(read) -> set[tuple[str, str]]:
  users, items = list(read.users), list(read.items)
  pairs = zip(read.ratings.user.tolist(), read.ratings.item.tolist())
  return {(users[user], items[item]) for user, item in pairs}


def _against_plain(read, data, separator) -> Verdict:
  """Whether a table holds what a plain parser finds in a text."""
  if separator is None:
    return Verdict('altered')
  expected = plain(data, separator)
  if expected is None:
    return Verdict('altered')
  found, n = _pairs(read), read.ratings.user.size + read.duplicates
  if n != len(expected):
    return Verdict('WRONG', f'{n} rows are read of {len(expected)}')
  if found != set(expected):
    return Verdict('WRONG', f'other ids: {sorted(found ^ set(expected))[:2]}')
  return Verdict('equal')


def plain(data: bytes, separator: str) -> list[tuple[str, str]] | None:
  """User and item of every line; None where a line is no plain record.

  It splits lines by hand, and leaves what has quotes to the csv module.
  """
  try:
    decoded = data.decode('utf-8-sig')
  except UnicodeDecodeError:
    return None
  if '\n' not in decoded or decoded.startswith('sep=') or '\r' in decoded:
    return None
  lines = [line for line in decoded.split('\n') if line]
  if separator != '\t' and '"' in decoded:
    try:
      reader = csv.reader(
        io.StringIO(decoded), delimiter=separator, skipinitialspace=True, strict=True
      )
      records = list(reader)
    except (csv.Error, TypeError):
      return None
    records = [record for record in records if record]
  else:
    records = [line.split(separator) for line in lines]
  header, *records = records
  names = [name.split(':')[0].strip() for name in header]
  if names.count('user') != 1 or names.count('item') != 1:
    return None
  if any(len(record) != len(names) for record in records):
    return [('', '')]  # Ragged: reading it is wrong.
  places = names.index('user'), names.index('item')
  user, item = places
  return [(_id(record[user]), _id(record[item])) for record in records]


def _id(field):
  return unicodedata.normalize('NFC', field.strip(columns.BLANKS))


# --- The campaign -----------------------------------------------------------


def _work(connection, seed, numbers):
  """Judges inputs in a process of its own; sends (number, verdict)."""
  warnings.simplefilter('ignore')
  forbid_code()
  with tempfile.TemporaryDirectory() as folder:
    for number in numbers:
      connection.send((number, None))
      name, data = an_input(seed, number)
      connection.send((number, judge(name, data, pathlib.Path(folder))))


def campaign(seed: int, n: int) -> dict[int, Verdict]:
  """The verdict of each of `n` inputs."""
  verdicts, start = {}, 0
  context = multiprocessing.get_context('spawn')
  while start < n:
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, seed, range(start, n)))
    process.start()
    theirs.close()
    number = start
    try:
      while True:
        if not ours.poll(6 * LIMIT):
          process.kill()
          break
        number, verdict = ours.recv()
        if verdict is not None:
          verdicts[number] = verdict
    except EOFError:
      pass
    process.join()
    if len(verdicts) < n:
      why = f'the process ends with {process.exitcode}'
      verdicts.setdefault(number, Verdict('WRONG', why))
    start = number + 1
  return verdicts


def smallest(name: str, data: bytes, folder: pathlib.Path) -> bytes:
  """The data without lines, then bytes, without which it fails as well."""
  for parts in (data.splitlines(keepends=True), None):
    parts = parts or [bytes([byte]) for byte in data]
    size = max(1, len(parts) // 2)
    while size:
      at = 0
      while at < len(parts):
        left = parts[:at] + parts[at + size :]
        if judge(name, b''.join(left), folder).word == 'WRONG':
          parts = left
        else:
          at += size
      size //= 2
    data = b''.join(parts)
  return data


def report(verdicts: dict[int, Verdict], seed: int, seconds: float) -> str:
  """Counts by kind and verdict, as Markdown."""
  words = ('equal', 'altered', 'refused', 'WRONG')
  counts = {name: collections.Counter() for name in KINDS}
  for number, verdict in verdicts.items():
    counts[an_input(seed, number)[0]][verdict.word] += 1
  lines = [
    f'{len(verdicts):,} inputs of seed {seed}, in {seconds:.0f} s. *Equal*: read, with'
    ' the rows that a plain parser finds. *Altered*: read, where no plain parser tells'
    ' what the damaged bytes should hold. *Refused*: in one line that names the file.',
    '',
    '| input | ' + ' | '.join(words) + ' |',
    '| --- |' + ' ---: |' * len(words),
  ]
  total = sum(counts.values(), collections.Counter())
  for name, of_kind in [*counts.items(), ('all', total)]:
    cells = ' | '.join(f'{of_kind[word]:,}' for word in words)
    lines.append(f'| {name} | {cells} |')
  return '\n'.join(lines)


def show_failures(verdicts: dict[int, Verdict], seed: int) -> None:
  """Prints the smallest input of each new failure."""
  seen = set()
  with tempfile.TemporaryDirectory() as folder:
    for number, verdict in sorted(verdicts.items()):
      name, data = an_input(seed, number)
      what = name, verdict.why[:60]
      if verdict.word != 'WRONG' or what in seen:
        continue
      seen.add(what)
      if 'process ends' not in verdict.why:
        data = smallest(name, data, pathlib.Path(folder))
      print(f'input {number} ({name}): {verdict.why}\n  {data[:400]!r}')
