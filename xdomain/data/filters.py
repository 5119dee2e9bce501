"""Filters of a dataset: which users, items and interactions stay.

Every filter adds a step to the dataset's trail, with the counts after it.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from xdomain.data import describe, views
from xdomain.data.types import (
  DataError,
  Dataset,
  Ids,
  Pair,
  PerDomain,
  Ratings,
  Table,
  texts,
)

# Which users are kept, by whether they have enough in the source and in the target.
USERS = {
  'both': np.logical_and,
  'source': lambda source, target: source,
  'either': np.logical_or,
}


def at_least(
  dataset: Dataset, source: int = 5, target: int = 5, users: str = 'both'
) -> Dataset:
  """Keeps users with so many ratings in each domain, or in one (`users`).

  A floor per domain keeps the same users before and after the domains are aligned,
  since no item is removed that still has a rating. Items without ratings go.
  """
  pair = dataset.pair
  enough_s = views.per_user(pair.source) >= source
  enough_t = views.per_user(pair.target) >= target
  step = {
    'both': f'at least {source} source and {target} target ratings',
    'source': f'at least {source} source ratings',
    'either': f'at least {source} source or {target} target ratings',
  }
  step = f'users with {step[users]}'
  keep = USERS[users](enough_s, enough_t)
  if not keep.any():
    most_s, most_t = (views.per_user(part).max() for part in pair[:2])
    raise DataError(
      f'{dataset.name}: none of {keep.size:,} users is left after "{step}":'
      f' {enough_s.sum():,} have enough in the source, {enough_t.sum():,} in the target'
      f' (the most are {most_s} and {most_t}); lower the floor, as in'
      f' at_least={max(1, min(most_s, most_t))}'
    )
  return keep_users(dataset, keep, step)


def at_least_in_total(dataset: Dataset, ratings: int) -> Dataset:
  """Keeps users with so many ratings in both domains together.

  The other reading of DARec's "at least 5 ratings" (section 4.1 leaves open which
  is meant).
  """
  pair = dataset.pair
  total = views.per_user(pair.source) + views.per_user(pair.target)
  keep = total >= ratings
  step = f'users with at least {ratings} ratings in total'
  if not keep.any():
    raise DataError(
      f'{dataset.name}: none of {keep.size:,} users is left after "{step}": the most'
      f' is {total.max()}; lower the floor'
    )
  return keep_users(dataset, keep, step)


def sample(dataset: Dataset, users: int) -> Dataset:
  """Keeps so many users at random, the same in every call; all of them for 0."""
  if users < 0:
    raise DataError(f'most_users={users} is negative; 0 keeps all users')
  every = dataset.ids.users.size
  if not users or every <= users:
    return dataset
  keep = np.zeros(every, bool)
  keep[np.random.default_rng(0).choice(every, users, replace=False)] = True
  return keep_users(dataset, keep, f'a random sample of {users:,} of {every:,} users')


def core(dataset: Dataset, users: int, items: int) -> Dataset:
  """Keeps users and items with enough ratings, until no more of them go.

  Args:
    dataset: whose ratings count.
    users: ratings that a user needs in each domain.
    items: ratings that an item needs.
  """
  source, target = dataset.pair.source, dataset.pair.target
  left, before = source.user.size + target.user.size, None
  enough = np.ones(dataset.pair.target.n_users, bool)
  while left != before:
    enough = (views.per_user(source) >= users) & (views.per_user(target) >= users)
    source, target = (
      views.take(part, enough[part.user] & (views.per_item(part) >= items)[part.item])
      for part in (source, target)
    )
    left, before = source.user.size + target.user.size, left
  step = f'users with at least {users} ratings in each domain, items {items}'
  if not enough.any():
    raise DataError(
      f'{dataset.name}: none of {enough.size:,} users is left after "{step}"; lower'
      ' the floors'
    )
  pair = dataset.pair._replace(source=source, target=target)
  return keep_users(dataset._replace(pair=pair), enough, step)


def positives(
  dataset: Dataset, at_least: float | PerDomain = 4.0, users: str = 'both'
) -> Dataset:
  """Ratings that are high enough, as interactions of value 1; the others go.

  Users without a positive, in one of the domains or in any (`users`), go. A domain in
  which every value is 1, as readers have it where there are no ratings, is kept as a
  whole.

  Args:
    dataset: with ratings or without.
    at_least: the lowest rating that is a positive, for both domains or for each.
    users: as of `align`.
  """
  pair = dataset.pair
  if not isinstance(at_least, PerDomain):
    at_least = PerDomain(at_least, at_least)
  source, target = (_liked(part, low) for part, low in zip(pair[:2], at_least))
  likes = views.per_user(source) > 0, views.per_user(target) > 0
  keep = USERS[users](*likes)
  low = ' and '.join(dict.fromkeys(f'{low:g}' for low in at_least))
  if not np.logical_and(*likes).any():
    source, target = (part.value.max(initial=0) for part in pair[:2])
    raise DataError(
      f'{dataset.name}: no user rated {low} or higher in both domains; the highest'
      f' ratings are {source:g} and {target:g}; lower the threshold, as in'
      f' positive={min(source, target):g}'
    )
  step = f'positives, which are ratings of at least {low}'
  if all(np.all(part.value == 1) for part in pair[:2]):
    step = 'positives, which are all rows'
  pair = pair._replace(source=source, target=target)
  return keep_users(dataset._replace(pair=pair, scale=(0.0, 1.0)), keep, step)


def rescaled(dataset: Dataset, scale: PerDomain) -> Dataset:
  """The source's ratings on the target's scale, by the line between the scales' ends.

  Args:
    dataset: with each domain on its own scale.
    scale: of each domain, lowest and highest rating.
  """
  if scale.source == scale.target:
    return dataset
  (low, high), (to_low, to_high) = scale
  source = dataset.pair.source
  value = to_low + (source.value - low) * ((to_high - to_low) / (high - low))
  pair = dataset.pair._replace(source=source._replace(value=value.astype(np.float32)))
  step = (
    f'source ratings of {low:g} to {high:g} mapped onto the scale of the target,'
    f' {to_low:g} to {to_high:g}'
  )
  trail = (*dataset.trail, (step, describe.counts(pair)))
  return dataset._replace(pair=pair, scale=scale.target, trail=trail)


def liked_items(table: Table, at_least: float = 4.0) -> list[str]:
  """The raw ids of the items of a `Table` that any user has rated so high."""
  items = np.unique(_liked(table.ratings, at_least).item)
  return [table.items[item] for item in items.tolist()]


def over_items(dataset: Dataset, source: Sequence[str], target: Sequence[str]):
  """The same interactions over these items, some of which no user left has rated.

  Args:
    dataset: of some of these items.
    source: raw ids.
    target: raw ids.
  """
  pair, ids = dataset.pair, dataset.ids
  pair = pair._replace(
    source=_over(pair.source, ids.source, source),
    target=_over(pair.target, ids.target, target),
  )
  ids = ids._replace(source=texts(source), target=texts(target))
  step = 'with the items that no user left has rated'
  trail = (*dataset.trail, (step, describe.counts(pair)))
  return dataset._replace(pair=pair, ids=ids, trail=trail)


def with_side(dataset: Dataset, users: Sequence[str], vectors: np.ndarray) -> Dataset:
  """The dataset with auxiliary vectors; zeros for users without one.

  Args:
    dataset: without them.
    users: raw ids, `[n]`.
    vectors: `[n, A]`, or `[n, 2, A]` with the source's first.
  """
  rows = {user: row for row, user in enumerate(users)}
  row = np.array([rows.get(user, -1) for user in dataset.ids.users.tolist()])
  if not (row >= 0).any():
    raise DataError(
      f'{dataset.name}: no user has an auxiliary vector; users are such as'
      f' {str(dataset.ids.users[0])!r}, vectors are of such as {users[0]!r}'
    )
  side = np.zeros((row.size, *vectors.shape[1:]), np.float32)
  side[row >= 0] = vectors[row[row >= 0]]
  pair = dataset.pair._replace(side=side)
  step = (
    f'auxiliary vectors of {side.shape[-1]} numbers for '
    f'{np.count_nonzero(row >= 0):,} of {row.size:,} users'
  )
  trail = (*dataset.trail, (step, describe.counts(pair)))
  return dataset._replace(pair=pair, trail=trail)


def with_features(dataset: Dataset, words: Mapping[str, Collection[str]]) -> Dataset:
  """The dataset with features of the target's items, for the diversity of lists.

  Args:
    dataset: without them.
    words: of each raw item id, such as its genres; every word is a column of 0 and 1.
  """
  column = {word: n for n, word in enumerate(sorted(set().union(*words.values())))}
  features = np.zeros((len(dataset.ids.target), len(column)), np.float32)
  for row, item in enumerate(dataset.ids.target.tolist()):
    for word in words.get(item, ()):
      features[row, column[word]] = 1
  return dataset._replace(features=features)


def keep_users(dataset: Dataset, keep: np.ndarray, step: str) -> Dataset:
  """The dataset of the users in `keep` `[U]`, with `step` added to its trail."""
  pair = dataset.pair
  users = np.flatnonzero(keep)
  source, items_s = views.of_users(pair.source, users)
  target, items_t = views.of_users(pair.target, users)
  side = None if pair.side is None else pair.side[users]
  pair = Pair(source, target, side)
  ids = Ids(
    dataset.ids.users[users],
    dataset.ids.source[items_s],
    dataset.ids.target[items_t],
  )
  trail = (*dataset.trail, (step, describe.counts(pair)))
  features = None if dataset.features is None else dataset.features[items_t]
  return dataset._replace(
    pair=pair, ids=ids, trail=trail, folds=None, features=features
  )


def _liked(ratings: Ratings, at_least):
  """The ratings that are positives, with value 1."""
  rated = not np.all(ratings.value == 1)
  liked = views.take(ratings, ratings.value >= at_least) if rated else ratings
  return liked._replace(value=np.ones_like(liked.value))


def _over(ratings, old, new):
  """The interactions under the numbering of `new`, which has all items of `old`."""
  places = {item: place for place, item in enumerate(new)}
  item = np.array([places[item] for item in old.tolist()], np.int32)
  return ratings._replace(item=item[ratings.item], n_items=len(new))
