"""Two tables become a pair: align, filter, describe.

Every step that leaves something out says so in the dataset's trail.
"""

import textwrap
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from xdomain.data.types import DataError, Dataset, Ids, Pair, Ratings, Table

# --- Align and filter -------------------------------------------------------


# Who is kept, by who has enough in the source and who in the target.
PEOPLE = {
  'both': np.logical_and,
  'source': lambda source, target: source,
  'either': np.logical_or,
}
_SAID = {
  'both': 'users in both domains',
  'source': 'users of the source, also those new to the target',
  'either': 'users of either domain',
}


def align(
  source: Table, target: Table, *, scale=(1, 5), people='both', name
) -> Dataset:
  """The people who rated in both domains, or in one, under one numbering.

  Users are numbered by their first event in the target, those without one after
  them by their first in the source, items by their first event that is left; an
  item that nobody has rated who is kept goes.

  Args:
    source: a domain as it was read.
    target: the domain to recommend from.
    scale: lowest and highest rating of both.
    people: one of `PEOPLE`, who is kept; as of the filters that follow.
    name: what the pair is called in records.

  Raises:
    DataError: the tables share no user, or a rating is off the scale.
  """
  _check_scale(source, scale)
  _check_scale(target, scale)
  names, users_s, users_t = _aligned_users(source, target, people)
  ratings_s, items_s = _events_of(source.ratings, users_s)
  ratings_t, items_t = _events_of(target.ratings, users_t)
  pair = Pair(ratings_s, ratings_t)
  ids = Ids(names, _pick(source.items, items_s), _pick(target.items, items_t))
  shared = int(np.sum((users_s >= 0) & (users_t >= 0)))
  trail = (
    (
      f'as read: {source.origin} -> {target.origin}',
      _counts_as_read(source, target, shared),
    ),
    (_SAID[people], counts(pair)),
  )
  return Dataset(name, pair, ids, scale, trail)


def stacked(tables: Sequence[Table], names: Sequence[str]) -> Table:
  """Several domains as one; an item of the k-th is called 'name:id'.

  Args:
    tables: the domains as they were read.
    names: of the domains.
  """
  users, user = np.unique(
    np.concatenate([np.asarray(table.users, str) for table in tables]),
    return_inverse=True,
  )
  first_user = np.cumsum([0, *(len(table.users) for table in tables)])
  first_item = np.cumsum([0, *(len(table.items) for table in tables)])
  events = [table.ratings for table in tables]
  timed = all(each.time.size == each.user.size for each in events)
  ratings = Ratings(
    np.concatenate([user[k + each.user] for k, each in zip(first_user, events)]).astype(
      np.int32
    ),
    np.concatenate([k + each.item for k, each in zip(first_item, events)]).astype(
      np.int32
    ),
    np.concatenate([each.value for each in events]),
    np.concatenate([each.time for each in events]) if timed else np.zeros(0, int),
    users.size,
    int(first_item[-1]),
  )
  items = [
    f'{name}:{item}'
    for name, table in zip(names, tables, strict=True)
    for item in table.items
  ]
  origin = ' and '.join(table.origin for table in tables)
  return Table(ratings, users, items, origin, sum(table.duplicates for table in tables))


def at_least(dataset: Dataset, source=5, target=5, people='both') -> Dataset:
  """Keeps users with so many ratings in each domain, or in one.

  A floor per domain keeps the same people before and after the domains are
  aligned, since no item is removed that still has a rating; empty items go.
  """
  pair = dataset.pair
  enough_s = _per_user(pair.source) >= source
  enough_t = _per_user(pair.target) >= target
  step = {
    'both': f'at least {source} source and {target} target ratings',
    'source': f'at least {source} source ratings',
    'either': f'at least {source} source or {target} target ratings',
  }
  step = f'users with {step[people]}'
  keep = PEOPLE[people](enough_s, enough_t)
  if not keep.any():
    raise DataError(
      f'{dataset.name}: none of {keep.size:,} users is left after "{step}": '
      f'{enough_s.sum():,} have enough in the source, {enough_t.sum():,} in '
      f'the target (the most are {_per_user(pair.source).max()} and '
      f'{_per_user(pair.target).max()}). Lower the floor '
      '(config.data.at_least).'
    )
  return _keep(dataset, keep, step)


def at_least_in_total(dataset: Dataset, ratings) -> Dataset:
  """Keeps users with so many ratings in both domains together.

  The other reading of DARec's "at least 5 ratings" (section 4.1 leaves open
  which is meant).
  """
  total = _per_user(dataset.pair.source) + _per_user(dataset.pair.target)
  keep = total >= ratings
  step = f'users with at least {ratings} ratings in total'
  if not keep.any():
    raise DataError(
      f'{dataset.name}: none of {keep.size:,} users is left after "{step}": '
      f'the most is {total.max()}. Lower the floor.'
    )
  return _keep(dataset, keep, step)


def core(dataset: Dataset, users, items) -> Dataset:
  """Keeps people and items with enough ratings, until no more of them go.

  Args:
    dataset: whose ratings count.
    users: ratings that a person needs in each domain.
    items: ratings that an item needs.
  """
  source, target = dataset.pair.source, dataset.pair.target
  left, before = source.user.size + target.user.size, None
  while left != before:
    enough = (_per_user(source) >= users) & (_per_user(target) >= users)
    source, target = (
      take(part, enough[part.user] & (_per_item(part) >= items)[part.item])
      for part in (source, target)
    )
    left, before = source.user.size + target.user.size, left
  step = f'users with at least {users} ratings in each domain, items {items}'
  if not enough.any():
    raise DataError(
      f'{dataset.name}: none of {enough.size:,} users is left after "{step}". '
      'Lower the floors.'
    )
  pair = dataset.pair._replace(source=source, target=target)
  return _keep(dataset._replace(pair=pair), enough, step)


def positives(dataset: Dataset, at_least=4.0, people='both') -> Dataset:
  """What people liked, as events of value 1; of the rest nothing is known.

  Those who like nothing, in one of the domains or in any, go. A domain in which
  every value is 1, as readers have it where there are no ratings, is liked as a
  whole.

  Args:
    dataset: with ratings or without.
    at_least: the lowest rating that counts.
    people: as of `align`.
  """
  pair = dataset.pair
  source, target = (_liked(part, at_least) for part in pair[:2])
  likes = _per_user(source) > 0, _per_user(target) > 0
  keep = PEOPLE[people](*likes)
  if not np.logical_and(*likes).any():
    source, target = (part.value.max(initial=0) for part in pair[:2])
    raise DataError(
      f'{dataset.name}: nobody rated {at_least:g} or higher in both domains; '
      f'the highest are {source:g} and {target:g}. Lower the threshold '
      '(config.data.positive).'
    )
  step = f'positives, which are ratings of at least {at_least:g}'
  if all(np.all(part.value == 1) for part in pair[:2]):
    step = 'positives, which are all rows'
  pair = pair._replace(source=source, target=target)
  return _keep(dataset._replace(pair=pair, scale=(0.0, 1.0)), keep, step)


def liked_items(table: Table, at_least=4.0) -> list[str]:
  """The raw ids of the items that anybody has rated so high."""
  items = np.unique(_liked(table.ratings, at_least).item)
  return [table.items[item] for item in items.tolist()]


def over_items(dataset: Dataset, source, target) -> Dataset:
  """The same events over these items, some of which nobody left has rated.

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
  ids = ids._replace(source=np.array(source), target=np.array(target))
  trail = (
    *dataset.trail,
    ('with the items that nobody left has rated', counts(pair)),
  )
  return dataset._replace(pair=pair, ids=ids, trail=trail)


def with_side(dataset: Dataset, users: Sequence[str], vectors) -> Dataset:
  """The dataset with auxiliary vectors; zeros for users who have none.

  Args:
    dataset: without them.
    users: raw ids, `[n]`.
    vectors: `[n, A]`, or `[n, 2, A]` with the source's first.
  """
  rows = {user: row for row, user in enumerate(users)}
  row = np.array([rows.get(user, -1) for user in dataset.ids.users.tolist()])
  if not (row >= 0).any():
    raise DataError(
      f'{dataset.name}: no user has an auxiliary vector. Users are such as '
      f'{str(dataset.ids.users[0])!r}, vectors are of such as {users[0]!r}.'
    )
  side = np.zeros((row.size, *vectors.shape[1:]), np.float32)
  side[row >= 0] = vectors[row[row >= 0]]
  pair = dataset.pair._replace(side=side)
  step = (
    f'auxiliary vectors of {side.shape[-1]} numbers for '
    f'{np.count_nonzero(row >= 0):,} of {row.size:,} users'
  )
  trail = (*dataset.trail, (step, counts(pair)))
  return dataset._replace(pair=pair, trail=trail)


def by_genre(
  table: Table,
  genres: Mapping[str, Collection[str]],
  source=('Action',),
  target=('Comedy', 'Drama', 'Fantasy', 'Romance'),
) -> tuple[Table, Table]:
  """Two domains of one table: items of either set of genres, none in both.

  Args:
    table: for instance MovieLens.
    genres: the genres of each raw item id.
    source: an item of the source has any of these and none of `target`.
    target: an item of the target has any of these and none of `source`.

  Raises:
    DataError: a genre that no item has, or an item whose genres are unknown.
  """
  known = set().union(*genres.values())
  if unknown := sorted({*source, *target} - known):
    raise DataError(
      f'{table.origin}: no item has the genre {", ".join(unknown)}. '
      f'There are {", ".join(sorted(known))}.'
    )
  if missing := [item for item in table.items if item not in genres]:
    raise DataError(
      f'{table.origin}: the genres of {len(missing)} rated items are unknown, '
      f'for example of {missing[0]!r}.'
    )
  in_source, in_target = (
    np.array([not wanted.isdisjoint(genres[item]) for item in table.items])
    for wanted in (set(source), set(target))
  )
  return (
    _items_of(table, in_source & ~in_target, source, target),
    _items_of(table, in_target & ~in_source, target, source),
  )


# --- Other views of a pair --------------------------------------------------


def swapped(pair: Pair) -> Pair:
  """The same people with the domains exchanged."""
  side = pair.side
  if side is not None and side.ndim == 3:
    side = side[:, ::-1]
  return Pair(pair.target, pair.source, side)


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
    DataError: there is only one.
  """
  if not dataset.sources:
    raise DataError(
      f'{dataset.name} has one source: there is nothing to take apart. Several'
      ' are named side by side, as in'
      ' --config.data.source=films.csv,music.csv'
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


# --- Describe ---------------------------------------------------------------


def density(ratings: Ratings) -> float:
  """The share of the cells that are observed."""
  return ratings.user.size / max(1, ratings.n_users * ratings.n_items)


def counts(pair: Pair) -> dict[str, int]:
  """What the trail says of a pair; users of a domain have a rating there."""
  in_source, in_target = _per_user(pair.source) > 0, _per_user(pair.target) > 0
  return {
    'users': pair.target.n_users,
    'source_users': int(in_source.sum()),
    'source_items': pair.source.n_items,
    'source_ratings': pair.source.user.size,
    'target_users': int(in_target.sum()),
    'target_items': pair.target.n_items,
    'target_ratings': pair.target.user.size,
    'shared_users': int((in_source & in_target).sum()),
  }


def describe(dataset: Dataset) -> list[str]:
  """Lines of text: what every step of the trail left of both domains."""
  lines = [dataset.name]
  for step, count in dataset.trail:
    lines += textwrap.wrap(step, 80, initial_indent='  ', subsequent_indent='  ')
    lines += [_line(domain, count) for domain in ('source', 'target')]
    both = f'    {count["shared_users"]:,} users in both'
    if 'source_duplicates' in count:
      both += (
        f'; repeated ratings dropped: {count["source_duplicates"]:,} and '
        f'{count["target_duplicates"]:,}'
      )
    lines.append(both)
  return lines


def _line(domain, count):
  users, items, ratings = (
    count[f'{domain}_{what}'] for what in ('users', 'items', 'ratings')
  )
  return (
    f'    {domain} {users:>9,} users {items:>9,} items {ratings:>11,} ratings '
    f'{ratings / max(1, users * items):>8.3%} dense'
  )


def _counts_as_read(source, target, n_shared):
  read = {'users': len(source.users) + len(target.users) - n_shared}
  for domain, table in (('source', source), ('target', target)):
    read |= {
      f'{domain}_users': len(table.users),
      f'{domain}_items': len(table.items),
      f'{domain}_ratings': table.ratings.user.size,
      f'{domain}_duplicates': int(table.duplicates),
    }
  return read | {'shared_users': n_shared}


# --- Numbering --------------------------------------------------------------


def take(ratings: Ratings, chosen) -> Ratings:
  """The `chosen` events (a mask, places or a slice); the sizes stay."""
  return ratings._replace(
    user=ratings.user[chosen],
    item=ratings.item[chosen],
    value=ratings.value[chosen],
    time=ratings.time[chosen] if ratings.time.size else ratings.time,
  )


def _per_user(ratings):
  """`[U]` ratings of each user."""
  return np.bincount(ratings.user, minlength=ratings.n_users)


def _per_item(ratings):
  """`[n_items]` ratings of each item."""
  return np.bincount(ratings.item, minlength=ratings.n_items)


def _liked(ratings, at_least):
  """The events that say somebody likes something, with value 1."""
  rated = not np.all(ratings.value == 1)
  liked = take(ratings, ratings.value >= at_least) if rated else ratings
  return liked._replace(value=np.ones_like(liked.value))


def _over(ratings, old, new):
  """The events under the numbering of `new`, which has all items of `old`."""
  places = {item: place for place, item in enumerate(new)}
  item = np.array([places[item] for item in old.tolist()], np.int32)
  return ratings._replace(item=item[ratings.item], n_items=len(new))


def _first_seen(ids, n):
  """`[n]` place of each id's first event; `len(ids)` where it has none."""
  first = np.full(n, ids.size)
  first[ids[::-1]] = np.arange(ids.size)[::-1]  # The last write stays.
  return first


def _places(ids, n):
  """`[n]` the place of each id in `ids`; -1 where it is not among them.

  An id of -1 is nobody's.
  """
  places = np.full(n, -1, np.int32)
  there = np.flatnonzero(ids >= 0)
  places[ids[there]] = there
  return places


def _events_of(ratings, users):
  """The events of `users` `[n]`, now `0..n-1`, and the items they rated."""
  user = _places(users, ratings.n_users)[ratings.user]
  kept = take(ratings, user >= 0)
  first = _first_seen(kept.item, ratings.n_items)
  items = np.argsort(first, kind='stable')[: (first < kept.item.size).sum()]
  events = kept._replace(
    user=user[user >= 0],
    item=_places(items, ratings.n_items)[kept.item],
    n_users=len(users),
    n_items=len(items),
  )
  return events, items


def _keep(dataset, keep, step):
  """The dataset of the users in `keep` `[U]`, and `step` in its trail."""
  pair = dataset.pair
  users = np.flatnonzero(keep)
  source, items_s = _events_of(pair.source, users)
  target, items_t = _events_of(pair.target, users)
  side = None if pair.side is None else pair.side[users]
  pair = Pair(source, target, side)
  ids = Ids(
    dataset.ids.users[users],
    dataset.ids.source[items_s],
    dataset.ids.target[items_t],
  )
  trail = (*dataset.trail, (step, counts(pair)))
  return dataset._replace(pair=pair, ids=ids, trail=trail)


def _aligned_users(source, target, people):
  """Raw ids `[n]` of who is kept, and their numbers in each table, or -1."""
  import polars  # Millions of raw ids: a join, not a dictionary.

  left, right = (
    polars.DataFrame(
      {'id': polars.Series(table.users, dtype=polars.String)}
    ).with_row_index(domain)
    for domain, table in (('source', source), ('target', target))
  )
  how = {'both': 'inner', 'source': 'left', 'either': 'full'}[people]
  joined = left.join(right, on='id', how=how, coalesce=True)
  users_s, users_t = (
    joined[domain].cast(polars.Int64).fill_null(-1).to_numpy()
    for domain in ('source', 'target')
  )
  rated_s, seen_s = _first_of(source, users_s)
  rated_t, seen_t = _first_of(target, users_t)
  if not (rated_s & rated_t).any():
    raise DataError(_nobody_shared(source, target))
  order = np.lexsort((seen_s, seen_t))
  order = order[PEOPLE[people](rated_s, rated_t)[order]]
  names = np.array(joined['id'][order].to_list(), str)
  return names, users_s[order], users_t[order]


def _first_of(table, users):
  """Whether users `[n]` of a table, or -1, have rated, and where first."""
  events = table.ratings.user
  first = _first_seen(events, len(table.users))
  seen = np.where(users < 0, events.size, first[users])
  return seen < events.size, seen


def _nobody_shared(source, target):
  seen = [
    f'{len(table.users):,} in {table.origin}, such as {table.users[0]!r}'
    if len(table.users)
    else f'none in {table.origin}'
    for table in (source, target)
  ]
  alike = set.intersection(
    *({_plain(user) for user in table.users} for table in (source, target))
  )
  hint = (
    f' {len(alike):,} would have, if ids were written alike: in one case,'
    " without zeros before them or '.0' after them."
  )
  return (
    f'No user rated in both domains. Users: {"; ".join(seen)}. '
    f'A person needs the same id in both.{hint * bool(alike)}'
  )


def _plain(user):
  return user.casefold().removesuffix('.0').lstrip('0')


def _check_scale(table, scale):
  ratings = table.ratings
  off = ~((ratings.value >= scale[0]) & (ratings.value <= scale[1]))
  if off.any():
    k = int(np.argmax(off))
    raise DataError(
      f'{table.origin}: {off.sum():,} of {off.size:,} ratings are not between '
      f'{scale[0]} and {scale[1]}, for example {ratings.value[k]:g} of user '
      f'{table.users[ratings.user[k]]!r} for item '
      f'{table.items[ratings.item[k]]!r}. Declare the scale they have.'
    )


def _items_of(table, chosen, genres, others):
  """The part of `table` that rates the items in `chosen` `[n_items]`."""
  kept = chosen[table.ratings.item]
  if not kept.any():
    raise DataError(
      f'{table.origin}: no rated item is {"/".join(genres)} and not {"/".join(others)}.'
    )
  part = take(table.ratings, kept)
  users = np.flatnonzero(_per_user(part))
  events, items = _events_of(part, users)
  return table._replace(
    ratings=events,
    users=_pick(table.users, users),
    items=_pick(table.items, items),
    origin=f'{table.origin}: {"/".join(genres)}, not {"/".join(others)} '
    f'({items.size:,} of {len(table.items):,} items)',
  )


def _pick(ids, places):
  """`[n]` the raw ids at `places`."""
  return np.array([ids[k] for k in places.tolist()], str)
