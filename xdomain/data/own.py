"""Pairs of files of one's own."""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Callable
from typing import Any

from xdomain import wording
from xdomain.data import align, cache, filters, types
from xdomain.data.readers import columns as columns_of_files
from xdomain.data.readers import contents, delimited, download, side_vectors
from xdomain.data.readers import tables as tables_files

Say = Callable[[str], Any]
PerFile = Any  # one value for all files, or a tuple of one for each, the target's last


@dataclasses.dataclass(frozen=True)
class Tables(types.Options):
  """Two files of one's own, with ratings.

  Options of a file may differ from file to file: a pair is the source's and the
  target's, in a string with a comma between them. Several sources are named side by
  side, `films.csv,music.csv`; they become one, which `views.apart` takes apart.
  """

  source: str = ''  # a file, or several
  target: str = ''
  user: PerFile = 'user'  # a column's name, or its position from 0
  item: PerFile = 'item'
  rating: PerFile = 'rating'  # empty where there are none
  time: PerFile = ''
  header: bool | None = None  # found out from the file, unless given
  separator: PerFile = ''  # the same
  scale: tuple | None = None  # lowest and highest rating; the same
  users: str = 'both'  # in both domains; or all of the 'source', or of 'either'
  shared_items: str = 'drop'  # see `align.without_target`
  twins: str = 'drop'  # see `align.without_twins`
  at_least: int = 5  # ratings of a user in each domain that `users` names

  def read(self, say: Say) -> types.Dataset:
    def build():
      rated, scale = self._rated(say)
      rated = filters.rescaled(rated, scale)
      return filters.at_least(rated, self.at_least, self.at_least, self.users)

    return cache.cached(say, build, 'tables', self, self.files(), _digests)

  def files(self) -> list[pathlib.Path]:
    """The files of the sources, and the target's last."""
    for name, path in (('source', self.source), ('target', self.target)):
      if not path:
        raise types.DataError(
          f'{name}={path!r} names no file; name that of the {name} domain, as in'
          f' {name}=films.csv'
        )
    # A name with a comma may be that of one file.
    one = pathlib.Path(self.source).expanduser().exists()
    sources = [self.source] if one else str(self.source).split(',')
    files = [pathlib.Path(path).expanduser() for path in (*sources, self.target)]
    for path in files:
      contents.check_is_file(path)
    for path in files[:-1]:
      if path.resolve() == files[-1].resolve():
        raise types.DataError(
          f'{path} is the source and the target, so held-out interactions would be'
          ' trained on in the other; name two files'
        )
    return files

  def _rated(self, say) -> tuple[types.Dataset, types.PerDomain]:
    """The ratings of both domains, and the scale of each."""
    files = self.files()
    self._check()
    read = self._tables(files)
    *stems, stem = (path.name.split('.')[0] for path in files)
    if len(set(stems)) < len(stems):
      raise types.DataError(
        f'source={self.source!r} names files of one name; sources are'
        ' distinguished by their file names, so rename one'
      )
    *tables, target = read
    cleaned = [
      align.without_twins(
        align.without_target(table, target, self.shared_items), target, self.twins
      )
      for table in tables
    ]
    for table, before in zip(cleaned, tables):
      if table is not before:
        say(f'{table.origin} is the source')
    several = len(tables) > 1
    source = align.stacked(cleaned, stems) if several else cleaned[0]
    scale = self._scales(tables, target)
    name = '-'.join((*stems, stem))
    both = align.align(
      source,
      target,
      scale=scale,
      users=self.users,
      shared_items='keep',  # Sources were cleaned before they were stacked.
      twins='keep',
      name=name,
    )
    return both._replace(sources=tuple(stems) if several else ()), scale

  def _tables(self, files) -> list[types.Table]:
    n = len(files)
    scales = self._given_scales(n)
    given = zip(
      files,
      *(_columns(name, getattr(self, name), n) for name in _COLUMNS),
      _each_file('header', self.header, n),
      _separators(self.separator, n),
      scales,
      strict=True,
    )
    return [
      tables_files.read(
        path,
        user=user,
        item=item,
        rating=rating,
        time=time,
        header=header,
        separator=separator,
        scale=scale if rating is not None else None,
      )
      for path, user, item, rating, time, header, separator, scale in given
    ]

  def _check(self):
    for name, known in (
      ('users', filters.USERS),
      ('shared_items', align.SHARED_ITEMS),
      ('twins', align.TWINS),
    ):
      value = getattr(self, name)
      if value not in known:
        raise types.DataError(
          f'{name}={value!r} is not known{wording.instead(str(value), known)}'
        )
    headers = self.header if isinstance(self.header, list | tuple) else (self.header,)
    for header in headers:
      if header not in (None, False, True):
        raise types.DataError(f'header={header!r} is not known; it takes False, True')
    if not isinstance(self.at_least, int) or self.at_least < 0:
      raise types.DataError(
        f'at_least={self.at_least!r} is not a number of ratings; 0 keeps all users'
      )
    for name in ('user', 'item'):
      if getattr(self, name) in ('', None):
        raise types.DataError(f"{name}='' names no column; name that of the {name}s")

  def _given_scales(self, n) -> list[tuple[float, float] | None]:
    """The scale of each file, as far as it is given."""
    if self.scale is None:
      return [None] * n
    scale = self.scale
    listed = isinstance(scale, list | tuple)
    several = listed and any(isinstance(each, list | tuple) for each in scale)
    each = scale if several else (scale,) * n
    for pair in each:
      if not _is_scale(pair):
        # A flag that is no Python literal arrives as the tuple of its characters.
        typed = isinstance(pair, tuple) and pair and {*map(type, pair)} == {str}
        shown = ''.join(pair) if typed else scale
        raise types.DataError(
          f'scale={shown!r} is not the lowest and the highest rating, as in'
          ' scale=(1.0, 5.0)'
        )
    return _each_file('scale', tuple(map(tuple, each)), n)

  def _scales(self, tables, target) -> types.PerDomain:
    """The scale of both domains: as given, else the usual one that holds the ratings.

    Domains whose usual scales end at the same rating have one scale.
    """
    given = self._given_scales(len(tables) + 1)
    if not self.rating:
      return types.PerDomain((0.0, 1.0), (0.0, 1.0))
    if given[-1] is not None:
      return types.PerDomain(given[0], given[-1])
    ends = [
      (
        min(t.ratings.value.min() for t in part),
        max(t.ratings.value.max() for t in part),
      )
      for part in (tables, [target])
    ]
    found = [columns_of_files.usual_scale(*map(float, end)) for end in ends]
    if found[0][1] == found[1][1]:
      found = [min(found)] * 2
    return types.PerDomain(*found)


def _digests(paths) -> list[str]:
  return [download.digest_of(path) for path in paths]


_COLUMNS = ('user', 'item', 'rating', 'time')


@dataclasses.dataclass(frozen=True)
class TablesImplicit(Tables):
  """Two files of one's own, in which high ratings, or all rows, are positives."""

  # The lowest rating that is a positive, of both domains or a pair; None is three
  # quarters of the way up the scale: 4 of 1 to 5.
  positive: float | tuple | None = None
  side: str = ''  # a file of users' auxiliary vectors: user ids, then numbers

  def read(self, say: Say) -> types.Dataset:
    side = [pathlib.Path(self.side).expanduser()] if self.side else []
    for path in side:
      contents.check_is_file(path)
    files, built = self.files(), []
    digest_of = functools.cache(download.digest_of)

    def build():
      rated, scale = self._rated(say)
      built.append(rated)
      liked = filters.positives(rated, self._thresholds(scale), self.users)
      liked = filters.at_least(liked, self.at_least, self.at_least, self.users)
      return filters.with_side(liked, *self._side()) if self.side else liked

    def identify(paths):
      return [digest_of(path) for path in paths]

    read = cache.cached(say, build, 'tables_implicit', self, [*files, *side], identify)
    if built:
      self._kept(say, built.pop, identify)
    return read

  def rated(self) -> types.Dataset:
    """The ratings that positives are chosen from."""

    def ignore(line):
      del line

    return self._kept(ignore, lambda: self._rated(ignore)[0], _digests)

  def _kept(self, say, build, identify) -> types.Dataset:
    """The ratings in the cache, which spares a run to read its files twice."""
    any_positives = dict(positive=None, side='', at_least=0, most_users=0)
    options = dataclasses.replace(self, **any_positives)
    return cache.cached(say, build, 'tables_rated', options, self.files(), identify)

  def _thresholds(self, scale) -> types.PerDomain:
    if self.positive is None:
      return types.PerDomain(*map(threshold, scale))
    positive = self.positive
    for each in positive if isinstance(positive, list | tuple) else (positive,):
      if not isinstance(each, int | float) or each != each:
        raise types.DataError(
          f'positive={positive!r} is not a rating, nor one of each domain, as in'
          ' positive=(8.0, 4.0)'
        )
    if isinstance(positive, list | tuple):
      return types.PerDomain(*_each_file('positive', tuple(positive), 2))
    if scale.source != scale.target:
      lows = tuple(round(threshold(each), 4) for each in scale)
      raise types.DataError(
        f'positive={positive!r} is one threshold for ratings of'
        f' {scale.source[0]:g} to {scale.source[1]:g} in the source and'
        f' {scale.target[0]:g} to {scale.target[1]:g} in the target; give a pair, as in'
        f' positive={lows}'
      )
    return types.PerDomain(positive, positive)

  def _side(self):
    header = self.header if isinstance(self.header, bool) else None
    separator = self.separator if isinstance(self.separator, str) else ''
    path = pathlib.Path(self.side).expanduser()
    if separator and separator.encode() not in contents.read(path)[:1000]:
      separator = ''
    return side_vectors.read(path, header=header, separator=separator)


def threshold(scale: tuple[float, float]) -> float:
  """The lowest positive rating of a scale by default: 4 of 1 to 5."""
  return scale[0] + 0.75 * (scale[1] - scale[0])


def load_pair(
  source: str | pathlib.Path,
  target: str | pathlib.Path,
  *,
  say: Say = print,
  side: str = '',
  most_users: int = 0,
  **options,
) -> types.Dataset:
  """Returns the ratings of two files of one's own, ready to be split.

  Args:
    source: a CSV, TSV, Parquet or RecBole file with an interaction in each row; several
      as `films.csv,music.csv`.
    target: the file of the domain to recommend from.
    say: called with lines on what is read.
    side: a file of users' auxiliary vectors: user ids, then numbers.
    most_users: users of a random sample, for a first try; 0 keeps all.
    **options: of `Tables`: the columns `user`, `item`, `rating` and `time`, `header`,
      `separator`, `scale`, `users`, `shared_items`, `twins`, `at_least`.

  Raises:
    DataError: an unknown option, or a file that cannot be used.
  """
  known = [field.name for field in dataclasses.fields(Tables)]
  for name, value in options.items():
    if name not in known:
      raise types.DataError(
        f'{name}={value!r} is no option of load_pair{wording.instead(name, known)}'
      )
  read = Tables(str(source), str(target), **options).read(say)
  read = filters.with_side(read, *side_vectors.read(side)) if side else read
  return filters.sample(read, most_users)


def _is_scale(value) -> bool:
  if not isinstance(value, list | tuple) or len(value) != 2:
    return False
  numbers = all(isinstance(end, int | float) and math.isfinite(end) for end in value)
  return numbers and value[0] < value[1]


def _each_file(name, value, n) -> list:
  """A value for each of `n` files, the target's last.

  A pair is the sources' and the target's.
  """
  if not isinstance(value, list | tuple):
    return [value] * n
  if len(value) == n:
    return list(value)
  if len(value) == 1:
    return list(value) * n
  if len(value) == 2:
    return [value[0]] * (n - 1) + [value[1]]
  raise types.DataError(
    f'{name}={value!r} holds {len(value)} values for {n} files; give one, one for each,'
    " or the sources' and the target's"
  )


def _columns(name, value, n) -> list[str | int | None]:
  """The column of each file: a name, a position where that is a number, or None."""
  if isinstance(value, str) and ',' in value:
    value = tuple(part.strip() for part in value.split(','))
  return [
    int(column) if isinstance(column, str) and column.isdecimal() else column
    for column in (each if each != '' else None for each in _each_file(name, value, n))
  ]


def _separators(value, n) -> list[str | None]:
  """The separator of each file, or None to find out.

  In a string a pair is `;,` or `semicolon,comma`.
  """
  if isinstance(value, str):
    words = value.split(',')
    if len(value) == 2 and value[0] != value[1] and set(value) <= set(',;|\t'):
      value = tuple(value)
    elif len(words) > 1 and all(word in delimited.NAMES for word in words):
      value = tuple(words)
  return [each or None for each in _each_file('separator', value, n)]
