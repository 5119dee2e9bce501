"""Other views of a pair: some of its interactions, one domain, both as one."""

from typing import Any

import numpy as np

from xdomain.data.types import DataError, Dataset, Pair, Ratings


def take(ratings: Ratings, chosen: Any) -> Ratings:
  """The `chosen` interactions (a mask, places or a slice); the sizes stay."""
  return ratings._replace(
    user=ratings.user[chosen],
    item=ratings.item[chosen],
    value=ratings.value[chosen],
    time=ratings.time[chosen] if ratings.time.size else ratings.time,
  )


def without(ratings: Ratings, user: np.ndarray, item: np.ndarray) -> Ratings:
  """The interactions but for those of users with items, `[Q]` each."""
  cells, held = (
    u.astype(np.int64) * ratings.n_items + i
    for u, i in ((ratings.user, ratings.item), (user, item))
  )
  return take(ratings, ~np.isin(cells, held))


def per_user(ratings: Ratings) -> np.ndarray:
  """`[U]` interactions of each user."""
  return np.bincount(ratings.user, minlength=ratings.n_users)


def per_item(ratings: Ratings) -> np.ndarray:
  """`[n_items]` interactions of each item."""
  return np.bincount(ratings.item, minlength=ratings.n_items)


def by_row(row: np.ndarray, column: np.ndarray, n_columns: int) -> np.ndarray:
  """`[E]` places of cells, none of which is there twice, by row, then column.

  One key of 64 bits is sorted 4 times as fast as two of 32.
  """
  return np.argsort(row.astype(np.int64) * n_columns + column)


def of_users(ratings: Ratings, users: np.ndarray) -> tuple[Ratings, np.ndarray]:
  """The interactions of some users, renumbered, and the items that they have.

  Args:
    ratings: of all users.
    users: `[n]` old numbers; a user's new number is the place. -1 is no user.

  Returns:
    The interactions in their order, with items numbered by their first one, and the
    old numbers of these items.
  """
  user = _places(users, ratings.n_users)[ratings.user]
  kept = take(ratings, user >= 0)
  first = first_seen(kept.item, ratings.n_items)
  items = np.argsort(first, kind='stable')[: (first < kept.item.size).sum()]
  kept = kept._replace(
    user=user[user >= 0],
    item=_places(items, ratings.n_items)[kept.item],
    n_users=len(users),
    n_items=len(items),
  )
  return kept, items


def first_seen(ids: np.ndarray, n: int) -> np.ndarray:
  """`[n]` the place of each id's first occurrence; `len(ids)` where it has none."""
  first = np.full(n, ids.size)
  first[ids[::-1]] = np.arange(ids.size)[::-1]  # The last write stays.
  return first


def _places(ids, n):
  """`[n]` the place of each id in `ids`; -1 where it is not among them."""
  places = np.full(n, -1, np.int32)
  there = np.flatnonzero(ids >= 0)
  places[ids[there]] = there
  return places


def alone(pair: Pair) -> Pair:
  """The pair with an empty source of the same size."""
  return pair._replace(source=take(pair.source, slice(0)))


def merged(pair: Pair) -> Ratings:
  """Both domains as one, target items first so that their ids stay."""
  source, target = pair.source, pair.target
  timed = source.time.size == source.user.size
  timed &= target.time.size == target.user.size
  return Ratings(
    np.concatenate([target.user, source.user]),
    np.concatenate([target.item, source.item + np.int32(target.n_items)]),
    np.concatenate([target.value, source.value]),
    np.concatenate([target.time, source.time]) if timed else np.zeros(0, int),
    target.n_users,
    target.n_items + source.n_items,
  )


def joint(pair: Pair) -> Pair:
  """The pair with both domains as its target, and an empty source."""
  return alone(pair)._replace(target=merged(pair))


def apart(dataset: Dataset, pair: Pair) -> Pair:
  """The pair with each of the dataset's stacked sources on its own.

  Raises:
    DataError: the dataset has one source.
  """
  if not dataset.sources:
    raise DataError(
      f'{dataset.name} has one source, which cannot be taken apart; several sources'
      ' are named side by side, as in source=films.csv,music.csv'
    )
  name = np.array([item.split(':', 1)[0] for item in dataset.ids.source])
  source = pair.source
  parts = []
  for each in dataset.sources:
    mine = name == each
    part = take(source, mine[source.item])
    item = (np.cumsum(mine) - 1)[part.item].astype(np.int32)
    parts.append(part._replace(item=item, n_items=int(mine.sum())))
  return pair._replace(source=tuple(parts))
