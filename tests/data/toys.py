"""Small tables and files that several tests of data share."""

import zipfile

import numpy as np

from xdomain.data import align
from xdomain.data.types import Ratings, Table


def table(events, origin='toy.csv', duplicates=0):
  """A table from (user, item, value) rows; ids in order of appearance."""
  users = list(dict.fromkeys(user for user, _, _ in events))
  items = list(dict.fromkeys(item for _, item, _ in events))
  ratings = Ratings(
    np.array([users.index(user) for user, _, _ in events], np.int32),
    np.array([items.index(item) for _, item, _ in events], np.int32),
    np.array([value for _, _, value in events], np.float32),
    np.arange(len(events), dtype=np.int64),
    len(users),
    len(items),
  )
  return Table(ratings, users, items, origin, duplicates)


BOOKS = table(
  [
    ('ann', 'emma', 5),
    ('bob', 'emma', 1),
    ('cat', 'dune', 4),
    ('ann', 'ulysses', 2),
    ('dan', 'hamlet', 3),
  ],
  'books.csv',
  duplicates=3,
)
FILMS = table(
  [
    ('eve', 'heat', 5),
    ('cat', 'alien', 4),
    ('ann', 'heat', 3),
    ('cat', 'jaws', 2),
    ('ann', 'alien', 1),
    ('eve', 'fargo', 1),
  ],
  'films.csv',
)


def aligned():
  return align.align(BOOKS, FILMS, name='books-films')


def events(ratings, users, items):
  """What was rated, in raw ids, in order."""
  return [
    (str(users[u]), str(items[i]), float(value))
    for u, i, value in zip(ratings.user, ratings.item, ratings.value)
  ]


def assert_same(left, right):
  for a, b in zip(left, right, strict=True):
    np.testing.assert_array_equal(a, b)


# --- MovieLens --------------------------------------------------------------

MOVIES = {  # By GroupLens's number: title, genres.
  1: ('Toy Story (1995)', ('Animation', "Children's", 'Comedy')),
  2: ('Misérables, Les (1995)', ('Drama', 'Film-Noir')),
  5: ('Alien³: A Return (1992)', ('Sci-Fi',)),
  9: ('Never Rated (1990)', ('War',)),
}
PEOPLE = [('F', 1, 10, '48067'), ('M', 56, 16, '70072')]
RATINGS = [(1, 5, 5, 978300760), (1, 1, 3, 978302109), (2, 5, 4, 978300000)]


def lines(rows, separator, end='\n'):
  return ''.join(separator.join(map(str, row)) + end for row in rows)


def write_movielens(path, ratings=RATINGS, movies=MOVIES, people=PEOPLE):
  """GroupLens's form of the small data above."""
  people = [(user, *person) for user, person in enumerate(people, 1)]
  movies = [(n, title, '|'.join(kinds)) for n, (title, kinds) in movies.items()]
  with zipfile.ZipFile(path, 'w') as archive:
    for name, rows in zip(('ratings', 'users', 'movies'), (ratings, people, movies)):
      text = lines(rows, '::').encode('latin-1')
      archive.writestr(f'ml-1m/{name}.dat', text)
  return path
