"""Named data sets: MovieLens, Amazon's pairs, planted ones.

Each is a dataclass: its fields are the options with their defaults, `read` returns the
data set.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from xdomain.data import align, cache, describe, filters, types
from xdomain.data import synthetic as planted
from xdomain.data.readers import amazon as amazon_files
from xdomain.data.readers import download, texts
from xdomain.data.readers import movielens as movielens_files

Say = Callable[[str], Any]


@dataclasses.dataclass(frozen=True)
class MovieLens(types.Options):
  """MovieLens-1M, Action against Comedy, Drama, Fantasy and Romance.

  Films of both sides are dropped.
  """

  at_least: int = 5  # ratings of a user in each domain

  def read(self, say: Say) -> types.Dataset:
    path = download.movielens_1m(say)

    def build():
      table, genres, _ = movielens_files.read(path)
      source, target = align.by_genre(table, dict(zip(table.items, genres)))
      both = align.align(source, target, name='movielens')
      both = filters.at_least(both, self.at_least, self.at_least)
      return filters.with_features(both, dict(zip(table.items, genres)))

    return cache.cached(say, build, 'movielens', self, [path])


@dataclasses.dataclass(frozen=True)
class MovieLensImplicit(types.Options):
  """MovieLens-1M as in SharedVAE's Table 2, with users' demographics.

  All five counts are the paper's. Section 5.1 leaves three facts out: columns are the
  films that any user likes, fixed before users are filtered, and the first line of
  movies.dat is lost, as if it had been read as a header.
  """

  positive: float = 4.0  # the lowest rating that is a positive
  source_at_least: int = 20  # positives of a user
  target_at_least: int = 2
  first_movie_dropped: bool = True
  source_genres: str = 'Action'  # separated by commas
  target_genres: str = 'Comedy,Drama,Fantasy,Romance'

  def read(self, say: Say) -> types.Dataset:
    path = download.movielens_1m(say)

    def build():
      table, genres, users = movielens_files.read(path)
      genres = dict(zip(table.items, genres))
      if self.first_movie_dropped:
        genres[movielens_files.FIRST_MOVIE] = ()
      domains, liked = _liked(self, table, genres, 'movielens_implicit')
      columns = (filters.liked_items(domain, self.positive) for domain in domains)
      vectors = movielens_files.one_hot(users)
      liked = filters.over_items(liked, *columns)
      liked = filters.with_features(liked, genres)
      return filters.with_side(liked, list(table.users), vectors)

    made = cache.cached(say, build, 'movielens_implicit', self, [path])
    printed = MovieLensImplicit()
    if (self.source_genres, self.target_genres) == (
      printed.source_genres,
      printed.target_genres,
    ):
      _say_beside(say, 'MovieLens', 2, made, movielens_files.PRINTED)
    return made


@dataclasses.dataclass(frozen=True)
class MovieLens100k(types.Options):
  """MovieLens-100K in the domains of `MovieLens`, small and quick to tune on.

  Its users are others than those of MovieLens-1M.
  """

  at_least: int = 5  # ratings of a user in each domain

  def read(self, say: Say) -> types.Dataset:
    path = download.movielens_100k(say)

    def build():
      table, genres, _ = movielens_files.read(path, size='100k')
      genres = dict(zip(table.items, genres))
      both = align.align(*align.by_genre(table, genres), name='movielens_100k')
      both = filters.at_least(both, self.at_least, self.at_least)
      return filters.with_features(both, genres)

    return cache.cached(say, build, 'movielens_100k', self, [path])


@dataclasses.dataclass(frozen=True)
class MovieLens100kImplicit(types.Options):
  """The positives of MovieLens-100K, without demographics."""

  positive: float = 4.0  # the lowest rating that is a positive
  source_at_least: int = 5  # positives of a user
  target_at_least: int = 5
  source_genres: str = 'Action'  # separated by commas
  target_genres: str = 'Comedy,Drama,Fantasy,Romance'

  def read(self, say: Say) -> types.Dataset:
    path = download.movielens_100k(say)

    def build():
      table, genres, _ = movielens_files.read(path, size='100k')
      genres = dict(zip(table.items, genres))
      _, liked = _liked(self, table, genres, 'movielens_100k_implicit')
      return filters.with_features(liked, genres)

    return cache.cached(say, build, 'movielens_100k_implicit', self, [path])


def _liked(
  options: MovieLensImplicit | MovieLens100kImplicit,
  table: types.Table,
  genres: dict[str, tuple[str, ...]],
  name: str,
) -> tuple[tuple[types.Table, types.Table], types.Dataset]:
  """The tables of both genres, and the positives of users with enough of them."""
  wanted = options.source_genres.split(','), options.target_genres.split(',')
  domains = align.by_genre(table, genres, *wanted)
  rated = align.align(*domains, name=name)
  liked = filters.positives(rated, options.positive)
  least = options.source_at_least, options.target_at_least
  return domains, filters.at_least(liked, *least)


@dataclasses.dataclass(frozen=True)
class Amazon(types.Options):
  """One of the four Amazon pairs of DARec's Table 1.

  The paper's "users with at least 5 ratings" may be meant for each domain or in total:
  whichever comes nearer to its Table 1 is taken, and the trail names it.
  """

  pair: int = 1
  at_least: int = 5  # ratings of a user

  def read(self, say: Say) -> types.Dataset:
    files = amazon_files.obtain(self.pair, say=say)
    printed = _printed(amazon_files.PAIRS[self.pair])

    def build():
      name = f'amazon_{self.pair}'
      read = align.align(*map(amazon_files.read, files), name=name)
      either = [
        filters.at_least(read, self.at_least, self.at_least),
        filters.at_least_in_total(read, self.at_least),
      ]
      return min(either, key=lambda dataset: _distance(dataset, printed))

    made = cache.cached(say, build, 'amazon', self, files)
    _say_beside(say, f'amazon pair {self.pair}', 1, made, printed)
    return made


@dataclasses.dataclass(frozen=True)
class AmazonImplicit(types.Options):
  """Amazon's Movies -> Books, the large pair of SharedVAE's Table 2.

  The paper keeps ratings of 4 and 5 of users with some in both domains; it leaves open
  how users and items were filtered. Here users have at least so many positives in each
  domain and items at least so many, until no more go.
  """

  positive: float = 4.0  # the lowest rating that is a positive
  at_least: int = 5  # positives of a user in each domain
  item_at_least: int = 5

  def read(self, say: Say) -> types.Dataset:
    printed = amazon_files.MOVIES_BOOKS
    files = amazon_files.obtain_both('Movies -> Books', printed, say=say)

    def build():
      read = map(amazon_files.read, files)
      rated = align.align(*read, name='amazon_implicit')
      liked = filters.positives(rated, self.positive)
      return filters.core(liked, self.at_least, self.item_at_least)

    made = cache.cached(say, build, 'amazon_implicit', self, files)
    _say_beside(say, 'Movies -> Books', 2, made, _printed(printed))
    return made


@dataclasses.dataclass(frozen=True)
class Synthetic(types.Options):
  """A pair with planted taste."""

  users: int = 300
  source: int = 80  # items
  target: int = 120
  source_ratings: int = 6000
  target_ratings: int = 9000
  seed: int = 0

  def read(self, say: Say) -> types.Dataset:
    del say
    return planted.pair(**_planted(self))


@dataclasses.dataclass(frozen=True)
class SyntheticImplicit(types.Options):
  """Positives of users with one planted taste, and a noisy view of it beside."""

  users: int = 300
  source: int = 80  # items
  target: int = 150
  source_ratings: int = 16000  # of which about a third are positives
  target_ratings: int = 15000
  at_least: int = 3  # positives of a user in each domain
  seed: int = 0

  def read(self, say: Say) -> types.Dataset:
    del say
    return planted.implicit(**_planted(self))


def _planted(options):
  return {n: v for n, v in dataclasses.asdict(options).items() if n != 'most_users'}


def review_vectors(
  say: Say, dataset: types.Dataset, split: types.Split, seed: int, dimensions: int = 256
):
  """`[U, 2, A]` what users of Movies -> Books wrote in each domain, as vectors.

  Reviews that the split keeps back are not read (see `texts`).
  """
  categories = [each.category for each in amazon_files.MOVIES_BOOKS[:2]]
  trained = np.unique(split.train.target.user)
  users = dataset.ids.users
  new = np.setdiff1d(np.arange(len(users)), trained)
  vectors = []
  for domain, category in zip(('source', 'target'), categories):
    path = amazon_files.find_reviews(category)
    items = getattr(dataset.ids, domain)
    rows = texts.numbered(amazon_files.texts(path), users, items)
    back = set() if domain == 'source' else texts.kept_back(rows, split)
    say(f'{path}: vectors of {len(rows) - len(back):,} reviews')
    of_domain = texts.user_vectors(
      rows, back, len(users), new=new, dimensions=dimensions, seed=seed
    )
    vectors.append(of_domain)
  return np.stack(vectors, axis=1)


def _say_beside(say, title, number, dataset, printed):
  """Reports the counts of a dataset beside those that its paper prints."""
  ours = describe.counts(dataset.pair)
  say(f'{title}, here and in Table {number} of the paper:')
  for name, theirs in printed.items():
    say(f'  {name.replace("_", " "):<15} {ours[name]:>9,} {theirs:>9,}')


def _printed(pair: amazon_files.PrintedPair):
  """The counts of a pair in a paper's table, named as in `describe.counts`."""
  source, target, users = pair
  return {
    'users': users,
    'source_items': source.items,
    'source_ratings': source.ratings,
    'target_items': target.items,
    'target_ratings': target.ratings,
  }


def _distance(dataset, printed):
  """Sum of the absolute logarithms of the ratios of the counts."""
  ours = describe.counts(dataset.pair)
  return sum(abs(math.log(ours[name] / n)) for name, n in printed.items())
