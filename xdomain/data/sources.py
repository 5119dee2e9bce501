"""Data sets by name: a config's data block -> `Dataset`.

What was parsed and filtered is kept in the cache, so that the next run starts
at once.
"""

import hashlib
import inspect
import json
import math
import pathlib

import numpy as np

from xdomain import wording
from xdomain.data import cache, pairs, types
from xdomain.data import synthetic as synthetic_pairs
from xdomain.data.readers import (
  amazon as amazon_files,
)
from xdomain.data.readers import (
  download,
  side_vectors,
  texts,
)
from xdomain.data.readers import (
  movielens as movielens_files,
)
from xdomain.data.readers import (
  tables as tables_files,
)

VERSION = 1  # Of the filters and the format; a new one passes the cache by.


def dataset(kind: str, say=print, **options) -> types.Dataset:
  """The data set of a config's data block.

  Args:
    kind: one of `KINDS`.
    say: called with what is worth knowing on the way.
    **options: of that kind.

  Raises:
    DataError: what is missing or wrong, in words.
  """
  if kind not in KINDS:
    raise types.DataError(f'config.data.kind is {kind!r}{wording.instead(kind, KINDS)}')
  known = list(inspect.signature(KINDS[kind]).parameters)[1:]
  for name in options:
    if name not in known:
      raise types.DataError(
        f'config.data.{name} is no option of {kind!r} data'
        f'{wording.instead(name, known)}'
      )
  missing = [name for name in known if name not in options]
  if missing:
    word = kind.removesuffix('_implicit')
    config = 'darec.py:item,' if word == kind else 'shared_vae.py:'
    raise types.DataError(
      f'{kind!r} data needs config.data.{missing[0]}; choose the data by the'
      f" config's argument, as in --config=configs/{config}{word}"
    )
  return KINDS[kind](say, **options)


def options() -> set[str]:
  """The names of all options that a kind of data takes."""
  names = (inspect.signature(function).parameters for function in KINDS.values())
  return set().union(*names) - {'say'}


def movielens(say, at_least: int) -> types.Dataset:
  """MovieLens-1M, Action against Comedy, Drama, Fantasy and Romance.

  Films of both sides are dropped; users have at least so many ratings in each.
  """
  path, _ = download.movielens_1m(say)

  def build():
    table, genres, _ = movielens_files.read(path)
    source, target = pairs.by_genre(table, dict(zip(table.items, genres)))
    dataset = pairs.align(source, target, name='movielens')
    return pairs.at_least(dataset, at_least, at_least)

  return _cached(say, build, [path], 'movielens', at_least)


def movielens_implicit(
  say, positive, source_at_least, target_at_least, first_movie_dropped
) -> types.Dataset:
  """MovieLens-1M as in SharedVAE's Table 2, with users' demographics.

  All five counts are the paper's (section 5.1 leaves three facts out): columns
  are the films that anybody likes, fixed before users are filtered, and the
  first line of movies.dat is lost, as if it had been read as a header.
  """
  path, _ = download.movielens_1m(say)

  def build():
    table, genres, people = movielens_files.read(path)
    genres = dict(zip(table.items, genres))
    if first_movie_dropped:
      genres[movielens_files.FIRST_MOVIE] = ()
    domains = pairs.by_genre(table, genres)
    rated = pairs.align(*domains, name='movielens_implicit')
    liked = pairs.positives(rated, positive)
    liked = pairs.at_least(liked, source_at_least, target_at_least)
    columns = (pairs.liked_items(domain, positive) for domain in domains)
    vectors = movielens_files.one_hot(people)
    return pairs.with_side(pairs.over_items(liked, *columns), table.users, vectors)

  dataset = _cached(
    say,
    build,
    [path],
    'movielens_implicit',
    positive,
    source_at_least,
    target_at_least,
    first_movie_dropped,
  )
  _say_beside(say, 'MovieLens', 2, dataset, movielens_files.PRINTED)
  return dataset


def amazon(say, pair: int, at_least: int) -> types.Dataset:
  """One of the four Amazon pairs of DARec's Table 1.

  The paper's "users with at least 5 ratings" may be meant for each domain or in
  total: whichever comes nearer to its Table 1 is taken, and the trail says so.
  """
  files = amazon_files.obtain(pair, say=say)
  printed = _printed(amazon_files.PAIRS[pair])

  def build():
    read = pairs.align(*map(amazon_files.read, files), name=f'amazon_{pair}')
    either = [
      pairs.at_least(read, at_least, at_least),
      pairs.at_least_in_total(read, at_least),
    ]
    return min(either, key=lambda dataset: _distance(dataset, printed))

  dataset = _cached(say, build, files, 'amazon', pair, at_least)
  _say_beside(say, f'amazon pair {pair}', 1, dataset, printed)
  return dataset


def amazon_implicit(say, positive, at_least: int, item_at_least: int) -> types.Dataset:
  """Amazon's Movies -> Books, the large pair of SharedVAE's Table 2.

  The paper keeps ratings of 4 and 5 of those who gave some in both; how users
  and items were filtered, it does not say. Here users have at least so many
  positives in each domain and items at least so many, until no more go.
  """
  printed = amazon_files.MOVIES_BOOKS
  files = amazon_files.obtain_both('Movies -> Books', printed, say=say)

  def build():
    read = map(amazon_files.read, files)
    rated = pairs.align(*read, name='amazon_implicit')
    liked = pairs.positives(rated, positive)
    return pairs.core(liked, at_least, item_at_least)

  dataset = _cached(
    say, build, files, 'amazon_implicit', positive, at_least, item_at_least
  )
  _say_beside(say, 'Movies -> Books', 2, dataset, _printed(printed))
  return dataset


def review_vectors(say, dataset, split, seed: int, dimensions=256):
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
  """Tells the counts of a dataset and those that its paper prints."""
  ours = pairs.counts(dataset.pair)
  say(f'{title}, here and in Table {number} of the paper:')
  for name, theirs in printed.items():
    say(f'  {name.replace("_", " "):<15} {ours[name]:>9,} {theirs:>9,}')


def _printed(pair: amazon_files.PrintedPair):
  """What a paper's table says of a pair, named as in `pairs.counts`."""
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
  ours = pairs.counts(dataset.pair)
  return sum(abs(math.log(ours[name] / n)) for name, n in printed.items())


def tables(
  say,
  source,
  target,
  user,
  item,
  rating,
  time,
  header,
  separator,
  scale,
  people,
  at_least,
) -> types.Dataset:
  """Two files of one's own.

  A column is named, or counted from 0; `a,b` names it in the source and in the
  target where they differ. `people` is one of `pairs.PEOPLE`: those in 'both'
  domains, all of the 'source', those new to the target with them, or of
  'either'.
  """
  del say
  dataset = _own(
    source, target, user, item, rating, time, header, separator, scale, people
  )
  return pairs.at_least(dataset, at_least, at_least, people)


def tables_implicit(
  say,
  source,
  target,
  user,
  item,
  rating,
  time,
  header,
  separator,
  scale,
  people,
  positive,
  at_least,
  side,
) -> types.Dataset:
  """Files of one's own, in which ratings that are high, or all rows, count.

  Several sources are named side by side, `films.csv,music.csv`: they are one
  source, which `config.view='apart'` shows as several.
  `side` names a third, of users' auxiliary vectors: a column of their ids, then
  columns of numbers, with a header and a separator as the others have them.
  """
  del say
  scale = scale if rating else (0.0, 1.0)
  rated = _own(
    source, target, user, item, rating, time, header, separator, scale, people
  )
  liked = pairs.positives(rated, positive, people)
  liked = pairs.at_least(liked, at_least, at_least, people)
  if not side:
    return liked
  return pairs.with_side(
    liked, *side_vectors.read(side, header=header, separator=separator or None)
  )


def rated(kind: str, **options) -> types.Dataset | None:
  """The ratings that positives were chosen from, of own files.

  Args:
    kind: as of `dataset`.
    **options: the same.
  """
  if kind != 'tables_implicit':
    return None
  for name in ('positive', 'at_least', 'side'):
    options.pop(name)
  scale = options.pop('scale') if options['rating'] else (0.0, 1.0)
  return _own(**options, scale=scale)


def _own(source, target, user, item, rating, time, header, separator, scale, people):
  """Files of one's own, aligned; several sources as one."""
  one = pathlib.Path(source).exists()  # Even if its name has a comma.
  files = [*([source] if one else source.split(',')), target]
  for path in files[:-1]:
    _check_files(path, target)
  for name, columns in (('user', user), ('item', item)):
    if not columns:
      raise types.DataError(
        f'config.data.{name} is empty: name the column of the {name}s'
      )
  if people not in pairs.PEOPLE:
    raise types.DataError(
      f'config.data.people is {people!r}{wording.instead(people, pairs.PEOPLE)}'
    )
  numbers = all(isinstance(end, int | float) for end in scale)
  if len(scale) != 2 or not numbers or not scale[0] < scale[1]:
    raise types.DataError(
      f'config.data.scale is {tuple(scale)}; it takes the lowest and the'
      ' highest rating, as in (1.0, 5.0)'
    )
  read = [
    tables_files.read(
      path,
      user=_column(user, place, len(files)),
      item=_column(item, place, len(files)),
      rating=_column(rating, place, len(files)),
      time=_column(time, place, len(files)),
      scale=tuple(scale),
      header=header,
      separator=separator or None,
    )
    for place, path in enumerate(files)
  ]
  *stems, stem = (pathlib.Path(path).stem for path in files)
  scale, name = tuple(scale), '-'.join((*stems, stem))
  if len(stems) == 1:
    return pairs.align(*read, scale=scale, people=people, name=name)
  if len(set(stems)) < len(stems):
    raise types.DataError(
      f'config.data.source is {source!r}: sources are told apart by the names'
      ' of their files; rename one'
    )
  both = pairs.stacked(read[:-1], stems), read[-1]
  dataset = pairs.align(*both, scale=scale, people=people, name=name)
  return dataset._replace(sources=tuple(stems))


def _check_files(source, target):
  for name, path in (('source', source), ('target', target)):
    if not path:
      raise types.DataError(
        f'config.data.{name} is empty: name the file of the {name} domain,'
        f' as in --config.data.{name}=films.csv'
      )
  if pathlib.Path(source).resolve() == pathlib.Path(target).resolve():
    raise types.DataError(
      f'{source} is the source and the target: what is held out of the one'
      ' would be trained on in the other; name two files'
    )


def _column(names, place, files):
  """A column's name, its place where that is a number, or None.

  Args:
    names: one for all files, one for each, or the sources' and the target's.
    place: of the file; the target is the last.
    files: how many there are.
  """
  each = names.split(',')
  if len(each) not in (1, 2, files):
    raise types.DataError(
      f'{names!r} names {len(each)} columns for {files} files: give one, one'
      " for each, or the sources' and the target's"
    )
  if len(each) != files:
    place = -1 if place == files - 1 else 0
  name = each[place].strip()
  return int(name) if name.isdigit() else name or None


def synthetic(
  say, seed, users, source, target, source_ratings, target_ratings
) -> types.Dataset:
  """A pair with planted taste."""
  del say
  return synthetic_pairs.pair(
    seed,
    users=users,
    source=source,
    target=target,
    source_ratings=source_ratings,
    target_ratings=target_ratings,
  )


def synthetic_implicit(
  say, seed, users, source, target, source_ratings, target_ratings, at_least
) -> types.Dataset:
  """What people of one planted taste like, with a noisy view of it beside."""
  del say
  return synthetic_pairs.implicit(
    seed,
    users=users,
    source=source,
    target=target,
    source_ratings=source_ratings,
    target_ratings=target_ratings,
    at_least=at_least,
  )


KINDS = {
  'movielens': movielens,
  'movielens_implicit': movielens_implicit,
  'amazon': amazon,
  'amazon_implicit': amazon_implicit,
  'tables': tables,
  'tables_implicit': tables_implicit,
  'synthetic': synthetic,
  'synthetic_implicit': synthetic_implicit,
}


def _cached(say, build, files, *what):
  """The data set from the cache, or built and put there."""
  stamps = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
  key = hashlib.sha256(json.dumps([VERSION, *what, stamps]).encode())
  path = download.cache_dir() / 'pairs' / f'{what[0]}-{key.hexdigest()[:16]}.npz'
  if path.exists():
    return cache.load(path)
  dataset = build()
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    cache.save(dataset, path)
  except OSError as error:
    say(f'the parsed pair is not kept: {error}')
  return dataset
