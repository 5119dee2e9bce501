"""Splits of a pair: the interactions to train on, to validate on and to test on."""

import fractions
import math
from typing import TypedDict

import numpy as np

from xdomain.data import cache, filters, views
from xdomain.data.types import (
  DataError,
  Dataset,
  HeldOut,
  How,
  Pair,
  PerDomain,
  Ratings,
  Split,
)

# Held-out interactions times items: by default not more are ranked, as full ranks would
# take longer than training. Those of two cores take half a minute.
RANKED = 1 << 31
FEWEST = 10_000  # held-out interactions that are ranked in any case
MOST_NEGATIVES = 1000  # of a target with fewer items
QUERIES = 1 << 14  # held-out interactions whose negatives are drawn at a time


def by_ratio(
  pair: Dataset | Pair, seed: int = 0, *, test: float = 0.1, valid: float = 0.1
) -> Split:
  """Holds ratings out uniformly, in each domain by itself.

  Of N ratings, `floor(N test)` are tested on and `floor(rest valid)` of the rest are
  validated on. A user may lose every rating: the row stays.

  Args:
    pair: all ratings.
    seed: of both domains, each with a stream of its own.
    test: share of the ratings to test on.
    valid: share of the other ratings to validate on.

  Raises:
    DataError: a set would be empty.
    ValueError: a share is not between 0 and 1, or the seed is negative.
  """
  whole, origin = whole_of(pair)
  check_shares(test=test, valid=valid)
  _check_seed(seed)
  source = _three(whole.source, [seed, 0], test, valid, 'source')
  target = _three(whole.target, [seed, 1], test, valid, 'target')
  train, validation, testing = zip(source, target, strict=True)
  return Split(
    whole._replace(source=train[0], target=train[1]),
    PerDomain(*validation),
    PerDomain(*testing),
    **origin,
    how=How('rating', seed, dict(test=test, valid=valid)),
  )


def leave_one_out(
  pair: Dataset | Pair,
  seed: int = 0,
  *,
  negatives: int = 99,
  evaluated: int | None = None,
) -> Split:
  """Holds one target item of each user out to test, another to validate.

  Both are uniformly random; the source stays whole. A user with two target items is
  not validated, and one with a single item is trained on, never tested: it is all that
  is known of the user.

  Args:
    pair: positives; of a dataset with ratings, `positives` chooses them.
    seed: of the items and the negatives, each with a stream of its own.
    negatives: how many items to rank a held-out one among, drawn without replacement
      from those that the user has nowhere in `pair`.
    evaluated: held-out interactions to validate, and to test, at most: those of users
      drawn at random. None is all, unless `RANKED` scores are less; the other held-out
      ones are neither trained on nor evaluated.

  Raises:
    DataError: no user has enough target items.
    ValueError: the seed is negative, or `negatives` is below 1.
  """
  whole, origin = whole_of(pair, implicit=True)
  rng, *draws = streams(seed)
  target = whole.target
  test, validation = tested_and_validated(_turns(rng, target), target)
  how = How('leave_one_out', seed, options(evaluated, negatives=negatives))
  return Split(
    whole._replace(target=views.take(target, ~(test | validation))),
    **to_rank(draws, target, validation, test, how),
    **origin,
  )


def cold_start(
  pair: Dataset | Pair,
  seed: int = 0,
  *,
  users: float = 0.1,
  negatives: int = 99,
  evaluated: int | None = None,
) -> Split:
  """Holds all target items of some users out: they are new to the target.

  Each of these items is a query with negatives of its own. Training keeps the source
  items of cold-start users; a method that must not know these users passes over rows
  without target items.

  Args:
    pair: as for `leave_one_out`.
    seed: of the users and the negatives, each with a stream of its own.
    users: share of the users with items in both domains to test on; as many others are
      validated on.
    negatives: as for `leave_one_out`.
    evaluated: as for `leave_one_out`.

  Raises:
    DataError: there are too few users for the share.
    ValueError: the share leaves no user to train on, the seed is negative, or
      `negatives` is below 1.
  """
  whole, origin = whole_of(pair, implicit=True)
  rng, *draws = streams(seed)
  target = whole.target
  group = _groups(rng, whole, users)[target.user]
  how = How('cold_start', seed, options(evaluated, users=users, negatives=negatives))
  return Split(
    whole._replace(target=views.take(target, group == 0)),
    **to_rank(draws, target, group == 1, group == 2, how),
    **origin,
  )


def partial(
  pair: Dataset | Pair,
  seed: int = 0,
  *,
  shown: float = 0.5,
  users: float = 0.1,
  negatives: int = 99,
  evaluated: int | None = None,
) -> Split:
  """Holds one target item of each cold-start user out; a share of the rest is shown.

  The cold-start users are those of `cold_start`, and none of their target items is
  trained on. Of the q that are not held out, predictions see `floor(shown q + 1/2)`: a
  larger share adds to what a smaller one shows, and the held-out item and its
  negatives are the same for all. An item that is not shown is nowhere in the split,
  nor among the negatives.

  Args:
    pair: as for `leave_one_out`.
    seed: as for `cold_start`.
    shown: share of the rest, 0 to 1.
    users: as for `cold_start`.
    negatives: as for `leave_one_out`.
    evaluated: as for `leave_one_out`.

  Raises:
    DataError: as for `cold_start`.
    ValueError: as for `cold_start`, or `shown` is not a share.
  """
  if not 0 <= shown <= 1:
    raise ValueError(f'shown={shown} is not a share from 0 to 1')
  whole, origin = whole_of(pair, implicit=True)
  rng, *draws = streams(seed)
  target = whole.target
  group = _groups(rng, whole, users)[target.user]
  turn, rest = _turns(rng, target), views.per_user(target)[target.user] - 1
  # Rounded first, for shares as written: 0.29 of 50 is 14.5.
  quota = np.floor(np.round(shown * rest, 6) + 0.5)
  seen = (group == 0) | ((turn > 0) & (turn <= quota))
  valid, test = ((turn == 0) & (group == k) for k in (1, 2))
  used = options(evaluated, shown=shown, users=users, negatives=negatives)
  return Split(
    whole._replace(target=views.take(target, group == 0)),
    **to_rank(draws, target, valid, test, How('partial', seed, used)),
    shown=whole._replace(target=views.take(target, seen)),
    **origin,
  )


def positives(
  dataset: Dataset, threshold: float | None = None, at_least: int = 5
) -> Dataset:
  """The positives of a dataset with ratings, of users with enough of them.

  Args:
    dataset: with ratings; one whose values are all 1 is returned as it is.
    threshold: the lowest rating that is a positive; None is three quarters of the way
      up the scale, 4 of 1 to 5.
    at_least: positives that a user needs in each domain.
  """
  if all(np.all(part.value == 1) for part in dataset.pair[:2]):
    return dataset
  low, high = dataset.scale
  if threshold is None:
    threshold = low + 0.75 * (high - low)
  users = _users_of(dataset.pair)
  liked = filters.positives(dataset, threshold, users)
  return filters.at_least(liked, at_least, at_least, users)


def _users_of(pair) -> str:
  """The users that a pair holds, as `filters.USERS` names them."""
  in_source, in_target = (views.per_user(part) > 0 for part in pair[:2])
  if not in_source.all():
    return 'either'
  return 'both' if in_target.all() else 'source'


def digest(split: Split) -> str:
  """SHA-256 of every interaction, the set it went to, and its negatives.

  Where nothing more is shown than trained on, `shown` leaves no trace.
  """
  return cache.sha256(split[:3] if split.shown is None else split[:4])


class Origin(TypedDict):
  """The fields of a split that name the data it was made of."""

  dataset: Dataset | None
  given: Dataset | None


def whole_of(pair: Dataset | Pair, implicit: bool = False) -> tuple[Pair, Origin]:
  """The pair to split, the positives if it is implicit, and its origin."""
  if isinstance(pair, Pair):
    return pair, Origin(dataset=None, given=None)
  dataset = positives(pair) if implicit else pair
  return dataset.pair, Origin(dataset=dataset, given=pair)


def check_shares(**shares: float) -> None:
  """Raises a ValueError for a share that is not between 0 and 1."""
  for name, share in shares.items():
    if not 0 < share < 1:
      raise ValueError(f'{name}={share} is not a share between 0 and 1')


def tested_and_validated(
  turn: np.ndarray, target: Ratings
) -> tuple[np.ndarray, np.ndarray]:
  """`[E]` whether an interaction is tested on, and whether it is validated on.

  Args:
    turn: `[E]` the place of an interaction among those of its user: the first is
      tested on, the second validated on.
    target: the interactions.

  Raises:
    DataError: no user has the three interactions that this takes.
  """
  items = views.per_user(target)
  if items.max(initial=0) < 3:
    raise DataError(
      'a user needs two target items to be tested and three to be validated; the most'
      f' that one of the {target.n_users} users has is {items.max(initial=0)}; lower'
      ' the threshold of positives'
    )
  of_user = items[target.user]
  return (turn == 0) & (of_user >= 2), (turn == 1) & (of_user >= 3)


def _check_seed(seed):
  if seed < 0:
    raise ValueError(f'seed={seed} is negative')


def streams(seed: int) -> list[np.random.Generator]:
  """Generators: what is held out, negatives to validate, negatives to test."""
  _check_seed(seed)
  return [
    np.random.Generator(np.random.PCG64(stream))
    for stream in np.random.SeedSequence(seed).spawn(3)
  ]


def by_user(ratings: Ratings) -> np.ndarray:
  """`[E]` places of the events by user, then item."""
  return views.by_row(ratings.user, ratings.item, ratings.n_items)


def since_first(user: np.ndarray) -> np.ndarray:
  """`[E]` how many events of the same user come before, in sorted order."""
  first = np.flatnonzero(np.diff(user, prepend=-1))
  return np.arange(user.size) - np.repeat(first, np.diff(first, append=user.size))


def _turns(rng, ratings):
  """`[E]` an event's place, from 0, in a random order of its user's events.

  The order depends on who has what, not on how the events are stored.
  """
  order = by_user(ratings)
  place = np.empty(order.size, np.int64)
  place[np.argsort(rng.random(order.size))] = np.arange(order.size)
  order = order[views.by_row(ratings.user[order], place, order.size)]
  turn = np.empty(order.size, np.int64)
  turn[order] = since_first(ratings.user[order])
  return turn


def _groups(rng, pair, share):
  """`[U]` 1 for new users to validate, 2 for those to test, 0 for the rest."""
  if not 0 < share < 0.5:
    raise ValueError(
      f'users={share} is not a share between 0 and 0.5; as many users are for'
      ' validation as for the test'
    )
  shared = np.intersect1d(pair.source.user, pair.target.user)
  n = part_of(shared.size, share)
  if not n:
    raise DataError(
      f'{shared.size} users have items in both domains, of whom a share of {share}'
      ' leaves none to test; raise the share, or lower the floor that users must pass'
    )
  group = np.zeros(pair.target.n_users, np.int8)
  order = rng.permutation(shared)
  group[order[:n]] = 2
  group[order[n : 2 * n]] = 1
  return group


def options(evaluated: int | None, **others) -> dict:
  """The options of a split; `evaluated` leaves no trace unless it is given."""
  return others if evaluated is None else others | dict(evaluated=evaluated)


class Ranked(TypedDict):
  """The fields of a `Split` whose held-out items are ranked."""

  valid: PerDomain
  test: PerDomain
  how: How


def to_rank(
  draws: list[np.random.Generator],
  ratings: Ratings,
  valid: np.ndarray,
  test: np.ndarray,
  how: How,
  among: np.ndarray | None = None,
) -> Ranked:
  """The validation and the test set of interactions, with negatives of each.

  Args:
    draws: generators of the negatives of either set.
    ratings: all interactions of the target.
    valid: `[E]` whether an interaction is validated on.
    test: `[E]` whether it is tested on.
    how: with the numbers `negatives` of an interaction, and `evaluated` of interactions
      if that is given.
    among: `[T]` the items that may be negatives; None is all.
  """
  n, evaluated = how.options['negatives'], how.options.get('evaluated')
  for name, number in (('negatives', n), ('evaluated', evaluated)):
    if number is not None and number < 1:
      raise ValueError(f'{name}={number} is below 1')
  if n > max(MOST_NEGATIVES, ratings.n_items):
    raise ValueError(
      f'negatives={n} is above the {ratings.n_items:,} items of the target'
    )
  if evaluated is None:
    evaluated = max(FEWEST, RANKED // ratings.n_items)
  order = by_user(ratings)
  places = np.arange(ratings.n_items) if among is None else np.flatnonzero(among)
  choice = ratings
  if among is not None:
    choice = views.take(ratings, among[ratings.item])
    item = (np.cumsum(among) - 1)[choice.item]
    choice = choice._replace(item=item.astype(np.int32), n_items=places.size)

  def held_out(rng, chosen):
    held = held_out_of(
      ratings, _of_some(rng, ratings.user, order[chosen[order]], evaluated)
    )
    drawn = negatives_of(rng, choice, held.user, n)
    if among is not None:
      drawn = np.where(drawn < 0, -1, places[drawn]).astype(np.int32)
    return held._replace(negatives=drawn)

  in_valid, in_test = held_out(draws[0], valid), held_out(draws[1], test)
  left_out = int(np.count_nonzero(test)) - in_test.user.size
  return Ranked(
    valid=PerDomain(None, in_valid),
    test=PerDomain(None, in_test),
    how=how._replace(left_out=left_out),
  )


def _of_some(rng, user, chosen, most) -> np.ndarray:
  """The `chosen` interactions of as many users as have `most` of them; at least one."""
  if chosen.size <= most:
    return chosen
  owners, count = np.unique(user[chosen], return_counts=True)
  drawn = rng.spawn(1)[0].permutation(owners.size)  # The stream of negatives stays.
  some = drawn[: max(1, np.searchsorted(np.cumsum(count[drawn]), most, 'right'))]
  return chosen[np.isin(user[chosen], owners[some])]


def negatives_of(
  rng: np.random.Generator, ratings: Ratings, user: np.ndarray, n: int
) -> np.ndarray:
  """`[Q, n]` distinct items without an event of `user` `[Q]`, -1 if too few."""
  lacks = ratings.n_items - views.per_user(ratings)
  order = by_user(ratings)
  owner, item = ratings.user[order].astype(np.int64), ratings.item[order]
  # Of an event: how many items its user lacks come before its own. The k-th
  # that is lacking has as many of the user's items before it as are at most k.
  lacking = item - since_first(owner)
  width = ratings.n_items + 1
  key = owner * width + lacking
  drawn = np.empty((user.size, n), np.int32)
  for begin in range(0, user.size, QUERIES):
    some = user[begin : begin + QUERIES].astype(np.int64)[:, None]
    ranks = _distinct(rng, lacks[some[:, 0]], n)
    before = np.searchsorted(key, some * width + ranks, 'right')
    before -= np.searchsorted(key, some * width)
    drawn[begin : begin + QUERIES] = np.where(ranks < 0, -1, ranks + before)
  return drawn


def _distinct(rng, sizes, n):
  """`[Q, n]` distinct numbers from `0` to `sizes` `[Q]`; -1 beyond so many.

  Floyd's sampling (Bentley and Floyd 1987): every set is as likely, though not
  every order of it.
  """
  count = np.minimum(n, sizes)[:, None]
  last = sizes[:, None] - count + np.arange(n)
  drawn = rng.integers(last, endpoint=True)
  # Without a repeated number a row stays as it is: of large sets, nearly all do.
  repeated = (np.diff(np.sort(drawn, axis=1), axis=1) == 0).any(axis=1)
  rows, last = drawn[repeated], last[repeated]
  for k in range(n):
    taken = (rows[:, :k] == rows[:, k, None]).any(axis=1)
    rows[taken, k] = last[taken, k]
  drawn[repeated] = rows
  return np.where(np.arange(n) < count, drawn, -1)


def _three(ratings, seed, test, valid, domain):
  """Training ratings, and what is held out to validate and to test."""
  n = ratings.user.size
  n_test = part_of(n, test)
  n_valid = part_of(n - n_test, valid)
  if min(n_test, n_valid, n - n_test - n_valid) < 1:
    raise DataError(
      f'the {domain} has {n} ratings, of which test={test} and valid={valid} leave'
      f' {n - n_test - n_valid} to train on, {n_valid} to validate and {n_test} to'
      ' test; each needs one: change the shares, or lower the floor of users'
    )
  part = np.zeros(n, np.int8)
  order = np.random.default_rng(seed).permutation(n)
  part[order[:n_test]] = 2
  part[order[n_test : n_test + n_valid]] = 1
  return (
    views.take(ratings, part == 0),
    held_out_of(ratings, part == 1),
    held_out_of(ratings, part == 2),
  )


def part_of(n: int, share: float) -> int:
  """`floor(n share)` of the decimal as written: 100 x 0.29 is 29, not 28."""
  return math.floor(n * fractions.Fraction(str(share)))


def held_out_of(ratings: Ratings, chosen: np.ndarray) -> HeldOut:
  """The chosen interactions, in their order."""
  return HeldOut(ratings.user[chosen], ratings.item[chosen], ratings.value[chosen])
