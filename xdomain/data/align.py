"""Two tables -> a dataset: users matched by raw id, under one numbering."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xdomain.data import describe, views
from xdomain.data import twins as twin_items
from xdomain.data.filters import USERS
from xdomain.data.types import (
  DataError,
  Dataset,
  Ids,
  Pair,
  PerDomain,
  Ratings,
  Table,
  series,
  texts,
)

if TYPE_CHECKING:
  import polars as pl

_STEPS = {
  'both': 'users in both domains',
  'source': 'users of the source, also those new to the target',
  'either': 'users of either domain',
}
SHARED_ITEMS = ('drop', 'keep', 'error')
TWINS = ('drop', 'keep')
# Ratings of one interaction that is in both files agree; those of two items that
# happen to have the same id, as numbers from 0 do in each file, agree by chance.
_SAME, _SAME_UNRATED = 0.9, 0.2


def align(
  source: Table,
  target: Table,
  *,
  scale: tuple[float, float] | PerDomain = (1, 5),
  users: str = 'both',
  shared_items: str = 'drop',
  twins: str = 'drop',
  name: str,
) -> Dataset:
  """The users of both domains, or of one, and their interactions.

  Users are numbered by their first interaction in the target, those without one after
  them by their first in the source, items by their first interaction that is left; an
  item without one goes.

  Args:
    source: a domain as it was read.
    target: the domain to recommend from.
    scale: lowest and highest rating of both, or of each.
    users: one of `USERS`: in 'both' domains, all of the 'source', or of 'either'.
    shared_items: as of `without_target`.
    twins: as of `without_twins`.
    name: of the pair in records.

  Raises:
    DataError: the tables share no user, a rating is off the scale, or nothing is left
      of the source.
  """
  source = without_target(source, target, shared_items)
  source = without_twins(source, target, twins)
  scale = scale if isinstance(scale, PerDomain) else PerDomain(scale, scale)
  _check_scale(source, scale.source)
  _check_scale(target, scale.target)
  names, users_s, users_t = _aligned_users(source, target, users)
  ratings_s, items_s = views.of_users(source.ratings, users_s)
  ratings_t, items_t = views.of_users(target.ratings, users_t)
  pair = Pair(ratings_s, ratings_t)
  ids = Ids(names, _pick(source.items, items_s), _pick(target.items, items_t))
  shared = int(np.sum((users_s >= 0) & (users_t >= 0)))
  trail = (
    (
      f'as read: {source.origin} -> {target.origin}',
      _counts_as_read(source, target, shared),
    ),
    (_STEPS[users] + _more_if_alike(source, target), describe.counts(pair)),
  )
  return Dataset(name, pair, ids, scale.target, trail)


def stacked(tables: Sequence[Table], names: Sequence[str]) -> Table:
  """Several domains as one; an item of the k-th is called 'name:id'.

  Args:
    tables: the domains as they were read.
    names: of the domains.
  """
  import polars as pl

  every = pl.concat([series(table.users) for table in tables])
  users = every.unique().sort()
  user = users.search_sorted(every).to_numpy()
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
    len(users),
    int(first_item[-1]),
  )
  items = pl.concat(
    [
      pl.select(pl.lit(f'{name}:') + series(table.items)).to_series()
      for name, table in zip(names, tables, strict=True)
    ]
  )
  origin = ' and '.join(table.origin for table in tables)
  return Table(ratings, users, items, origin, sum(table.duplicates for table in tables))


def by_genre(
  table: Table,
  genres: Mapping[str, Collection[str]],
  source: Collection[str] = ('Action',),
  target: Collection[str] = ('Comedy', 'Drama', 'Fantasy', 'Romance'),
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
      f'{table.origin}: no item has the genre {", ".join(unknown)}; the genres are'
      f' {", ".join(sorted(known))}'
    )
  if missing := [item for item in table.items if item not in genres]:
    raise DataError(
      f'{table.origin}: the genres of {len(missing)} rated items are unknown, for'
      f' example of {missing[0]!r}'
    )
  in_source, in_target = (
    np.array([not wanted.isdisjoint(genres[item]) for item in table.items])
    for wanted in (set(source), set(target))
  )
  return (
    _items_of(table, in_source & ~in_target, source, target),
    _items_of(table, in_target & ~in_source, target, source),
  )


def _items_of(table, chosen, genres, others):
  """The part of `table` that rates the items in `chosen` `[n_items]`."""
  kept = chosen[table.ratings.item]
  if not kept.any():
    raise DataError(
      f'{table.origin}: no rated item is {"/".join(genres)} and not {"/".join(others)}'
    )
  part = views.take(table.ratings, kept)
  users = np.flatnonzero(views.per_user(part))
  events, items = views.of_users(part, users)
  return table._replace(
    ratings=events,
    users=_pick(table.users, users),
    items=_pick(table.items, items),
    origin=f'{table.origin}: {"/".join(genres)}, not {"/".join(others)} '
    f'({items.size:,} of {len(table.items):,} items)',
  )


# --- Interactions of the target in the source -------------------------------


def without_target(source: Table, target: Table, shared_items: str = 'drop') -> Table:
  """The source without interactions that are the target's own.

  A source that holds the target's interactions would train on what is held out of the
  target. Interactions of the two are the same if user and item have the same raw ids
  and nearly all such ratings (and times) agree; without ratings and times, if they are
  a fifth of the target. Otherwise the ids are taken for those of different items.

  Args:
    source: a domain as it was read.
    target: the domain to recommend from.
    shared_items: 'drop' such interactions from the source, 'keep' them, or raise an
      'error'.

  Raises:
    DataError: `shared_items` is 'error' and there are such interactions, or the source
      holds nothing else.
  """
  if shared_items == 'keep':
    return source
  if shared_items not in SHARED_ITEMS:
    raise DataError(f'shared_items={shared_items!r} is none of {SHARED_ITEMS}')
  found = _found_in(source, target)
  there = found >= 0
  if not there.any() or not _are_same(source.ratings, target.ratings, found):
    return source
  n = int(np.count_nonzero(there))
  what = f'{n:,} interactions of {target.origin} (user and item) are also in it'
  if shared_items == 'error':
    raise DataError(
      f'{source.origin}: {what}, so held-out ones would be trained on; take them out,'
      " or give shared_items='drop', or shared_items='keep' if the items differ"
    )
  if there.all():
    raise DataError(
      f'{source.origin}: every interaction is also in {target.origin}; name two'
      " domains, or give shared_items='keep' if the items differ"
    )
  ratings = views.take(source.ratings, ~there)
  return source._replace(
    ratings=ratings,
    origin=f'{source.origin} (less {n:,} interactions that are also in the target)',
  )


def without_twins(source: Table, target: Table, twins: str = 'drop') -> Table:
  """The source without items that are items of the target under another id.

  A user who has the twin of a held-out item in the source gives the item away. Twins
  have nearly the same users among those of both domains (see `twins.twins`).

  Args:
    source: a domain as it was read.
    target: the domain to recommend from.
    twins: 'drop' the source's interactions with twins, or 'keep' them.

  Raises:
    DataError: the option is unknown, or every item of the source is a twin.
  """
  if twins not in TWINS:
    raise DataError(f'twins={twins!r} is none of {TWINS}')
  if twins == 'keep' or not source.ratings.user.size:
    return source
  user = numbers_in(source.users, target.users)[source.ratings.user]
  shared = views.take(source.ratings, user >= 0)
  shared = shared._replace(user=user[user >= 0], n_users=len(target.users))
  found = twin_items.twins(shared, target.ratings)
  # Items under one id are the business of `without_target`.
  same = numbers_in(source.items, target.items)[found.source] == found.target
  items = np.unique(found.source[~same])
  if not items.size:
    return source
  kept = ~np.isin(source.ratings.item, items)
  if not kept.any():
    raise DataError(
      f'{source.origin}: every item has the users of an item of {target.origin}; name'
      " two domains, or give twins='keep' if the items differ"
    )
  return source._replace(
    ratings=views.take(source.ratings, kept),
    origin=f'{source.origin} (less {items.size:,} items that are in the target under'
    ' another id)',
  )


def _found_in(source, target) -> np.ndarray:
  """`[E]` where each interaction of the source is in the target; -1 if it is not."""
  import polars as pl

  found = np.full(source.ratings.user.size, -1)
  items = numbers_in(source.items, target.items)
  if not (items >= 0).any():  # As it should be: no join of all interactions.
    return found
  user = numbers_in(source.users, target.users)[source.ratings.user]
  item = items[source.ratings.item]
  there = np.flatnonzero((user >= 0) & (item >= 0))
  width = len(target.items)
  key = target.ratings.user.astype(np.int64) * width + target.ratings.item
  ours = pl.DataFrame({'key': user[there] * width + item[there], 'ours': there})
  theirs = pl.DataFrame({'key': key, 'theirs': np.arange(key.size)})
  both = ours.join(theirs, on='key', how='inner')
  found[both['ours'].to_numpy()] = both['theirs'].to_numpy()
  return found


def _are_same(source, target, found) -> bool:
  there = found >= 0
  agree, known = np.ones(np.count_nonzero(there), bool), False
  for field in ('value', 'time'):
    ours, theirs = getattr(source, field), getattr(target, field)
    told = all(column.size and np.ptp(column) for column in (ours, theirs))
    if told:
      agree &= ours[there] == theirs[found[there]]
      known = True
  if known:
    return bool(agree.mean() >= _SAME)
  return agree.size >= _SAME_UNRATED * target.user.size


def numbers_in(ids: Any, others: Any) -> np.ndarray:
  """`[n]` int64: the number of each raw id among `others`; -1 where it is not."""
  import polars as pl

  numbered = pl.DataFrame({'id': series(others)}).with_row_index('number')
  wanted = pl.DataFrame({'id': series(ids)})
  joined = wanted.join(numbered, on='id', how='left', maintain_order='left')
  return joined['number'].cast(pl.Int64).fill_null(-1).to_numpy()


# --- Users ------------------------------------------------------------------


def _aligned_users(source, target, users):
  """Raw ids `[n]` of the users that are kept, and their number or -1 in each table."""
  import polars as pl  # Millions of raw ids: a join, not a dictionary.

  left, right = (
    pl.DataFrame({'id': series(table.users)}).with_row_index(domain)
    for domain, table in (('source', source), ('target', target))
  )
  how: Any = {'both': 'inner', 'source': 'left', 'either': 'full'}[users]
  joined = left.join(right, on='id', how=how, coalesce=True)
  users_s, users_t = (
    joined[domain].cast(pl.Int64).fill_null(-1).to_numpy()
    for domain in ('source', 'target')
  )
  rated_s, seen_s = _first_of(source, users_s)
  rated_t, seen_t = _first_of(target, users_t)
  if not (rated_s & rated_t).any():
    raise DataError(_none_shared(source, target))
  order = np.lexsort((seen_s, seen_t))
  order = order[USERS[users](rated_s, rated_t)[order]]
  return texts(joined['id'][order]), users_s[order], users_t[order]


def _first_of(table, users):
  """Whether users `[n]` of a table, or -1, have rated, and where first."""
  events = table.ratings.user
  first = views.first_seen(events, len(table.users))
  seen = np.where(users < 0, events.size, first[users])
  return seen < events.size, seen


def _none_shared(source, target):
  seen = [
    f'{len(table.users):,} in {table.origin}, such as {table.users[0]!r}'
    if len(table.users)
    else f'none in {table.origin}'
    for table in (source, target)
  ]
  alike, _, _ = _alike(source, target)
  hint = (
    f'; {alike:,} would be shared if ids were written alike: in one case, without'
    " quotes, without zeros before them or '.0' after them"
  )
  return (
    f'no user rated in both domains: {"; ".join(seen)}; a user needs the same id in'
    f' both{hint * bool(alike)}'
  )


def _more_if_alike(source, target) -> str:
  """The count of users that ids written alike would add, in words."""
  more, ours, theirs = _alike(source, target)
  if not more:
    return ''
  return f' ({more:,} more would be if ids were written alike: {ours!r} and {theirs!r})'


def _alike(source, target) -> tuple[int, str, str]:
  """The count of users whose ids differ only in spelling, and an example."""
  import polars as pl

  ours, theirs = (series(table.users).unique() for table in (source, target))
  both = ours.implode()
  left, right = (
    pl.DataFrame({name: ids}).with_columns(plain=_plain(ids))
    for name, ids in (
      ('source', ours.filter(~ours.is_in(theirs.implode()))),
      ('target', theirs.filter(~theirs.is_in(both))),
    )
  )
  joined = left.join(right, on='plain').sort('source', 'target')
  if joined.is_empty():
    return 0, '', ''
  return joined['plain'].n_unique(), joined['source'][0], joined['target'][0]


def _plain(ids: 'pl.Series') -> 'pl.Series':
  """Ids without what spreadsheets and exports change."""
  plain = ids.str.normalize('NFKC').str.to_lowercase().str.replace_all(r'["\'\s]', '')
  return plain.str.replace(r'\.0+$', '').str.strip_chars_start('0')


def _pick(ids, places):
  """`[n]` the raw ids at `places`."""
  return texts(series(ids).gather(places))


def _check_scale(table, scale):
  ratings = table.ratings
  low, high = map(np.float32, scale)
  off = ~((ratings.value >= low) & (ratings.value <= high))
  if off.any():
    k = int(np.argmax(off))
    raise DataError(
      f'{table.origin}: {off.sum():,} of {off.size:,} ratings are not between '
      f'{scale[0]} and {scale[1]}, for example {ratings.value[k]:g} of user '
      f'{table.users[int(ratings.user[k])]!r} for item '
      f'{table.items[int(ratings.item[k])]!r}; give the scale that they have, scale=...'
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
