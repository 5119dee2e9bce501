"""A pair becomes a split: what to train on, to choose by and to test on."""

import fractions
import math

import numpy as np

from xdomain.data import cache, pairs
from xdomain.data.types import DataError, HeldOut, Pair, PerDomain, Split


def by_ratio(pair: Pair, seed: int, *, test=0.1, valid=0.1) -> Split:
  """Holds ratings out uniformly, in each domain by itself.

  Of N ratings, `floor(N test)` are tested on and `floor(rest valid)` of the
  rest choose between models. A user may lose every rating: the row stays.

  Args:
    pair: everything that was rated.
    seed: decides both domains, each from a stream of its own.
    test: share of the ratings to test on.
    valid: share of the other ratings to validate on.

  Raises:
    DataError: a set would be empty.
    ValueError: a share is not between 0 and 1, or the seed is negative.
  """
  for name, share in (('test', test), ('valid', valid)):
    if not 0 < share < 1:
      raise ValueError(f'{name} must be a share between 0 and 1, not {share}.')
  _check_seed(seed)
  source = _three(pair.source, [seed, 0], test, valid, 'source')
  target = _three(pair.target, [seed, 1], test, valid, 'target')
  train, validation, testing = zip(source, target, strict=True)
  return Split(
    pair._replace(source=train[0], target=train[1]),
    PerDomain(*validation),
    PerDomain(*testing),
  )


def leave_one_out(pair: Pair, seed: int, *, negatives=99) -> Split:
  """Holds one target item of each user out to test, another to validate.

  Both are uniformly random; the source stays whole. A user with two target
  items is not validated, and one with a single item is trained on, never
  tested: it is all that is known of them.

  Args:
    pair: all positives.
    seed: decides the items and the negatives, each from a stream of its own.
    negatives: how many items to rank a held-out one among, drawn without
      replacement from those that the user has nowhere in `pair`.

  Raises:
    DataError: no user has enough target items.
    ValueError: the seed is negative, or no negatives are asked for.
  """
  rng, *draws = _streams(seed)
  target = pair.target
  turn, items = _turns(rng, target), _per_user(target)[target.user]
  test = (turn == 0) & (items >= 2)
  validation = (turn == 1) & (items >= 3)
  if not validation.any():
    raise DataError(
      'A user needs two target items to be tested, and three to be validated; '
      f'the most that one of the {target.n_users} users has is '
      f'{_per_user(target).max(initial=0)}. Lower the threshold that ratings '
      'must pass.'
    )
  return Split(
    pair._replace(target=pairs.take(target, ~(test | validation))),
    *_to_rank(draws, target, validation, test, negatives),
  )


def cold_start(pair: Pair, seed: int, *, users=0.1, negatives=99) -> Split:
  """Holds all target items of some users out: they are new to the target.

  Each of these items is a query with negatives of its own. Training keeps the
  source items of new users; a method that must not know them passes over who
  has no target items.

  Args:
    pair: all positives.
    seed: decides the users and the negatives, each from a stream of its own.
    users: share of the people with items in both domains who are tested; as
      many others are validated.
    negatives: as for `leave_one_out`.

  Raises:
    DataError: there are too few people for the share.
    ValueError: the share leaves nobody to train on, the seed is negative, or
      no negatives are asked for.
  """
  rng, *draws = _streams(seed)
  target = pair.target
  group = _groups(rng, pair, users)[target.user]
  return Split(
    pair._replace(target=pairs.take(target, group == 0)),
    *_to_rank(draws, target, group == 1, group == 2, negatives),
  )


def partial(pair: Pair, seed: int, *, shown, users=0.1, negatives=99) -> Split:
  """Holds one target item of each new user out; a share of the rest is shown.

  The new users are those of `cold_start`, and none of their target items is
  trained on. Of the q that are not held out, predictions see
  `floor(shown q + 1/2)`: a larger share adds to what a smaller one shows, and
  the held-out item and its negatives are the same for all. What is not shown
  is nowhere in the split, nor among the negatives.

  Args:
    pair: all positives.
    seed: as for `cold_start`.
    shown: share of the rest, 0 to 1.
    users: as for `cold_start`.
    negatives: as for `leave_one_out`.

  Raises:
    DataError: as for `cold_start`.
    ValueError: as for `cold_start`, or `shown` is not a share.
  """
  if not 0 <= shown <= 1:
    raise ValueError(f'shown must be a share from 0 to 1, not {shown}.')
  rng, *draws = _streams(seed)
  target = pair.target
  group = _groups(rng, pair, users)[target.user]
  turn, rest = _turns(rng, target), _per_user(target)[target.user] - 1
  # Rounded first, for shares as written: 0.29 of 50 is 14.5.
  quota = np.floor(np.round(shown * rest, 6) + 0.5)
  seen = (group == 0) | ((turn > 0) & (turn <= quota))
  held = ((turn == 0) & (group == k) for k in (1, 2))
  return Split(
    pair._replace(target=pairs.take(target, group == 0)),
    *_to_rank(draws, target, *held, negatives),
    shown=pair._replace(target=pairs.take(target, seen)),
  )


def digest(split: Split) -> str:
  """SHA-256 of every event, where it went, and what it is ranked among.

  Where nothing more is shown than trained on, the field leaves no trace.
  """
  return cache.sha256(split[:3] if split.shown is None else split)


def _check_seed(seed):
  if seed < 0:
    raise ValueError(f'seed must not be negative, not {seed}.')


def _streams(seed):
  """Generators: what is held out, negatives to validate, negatives to test."""
  _check_seed(seed)
  return [
    np.random.Generator(np.random.PCG64(stream))
    for stream in np.random.SeedSequence(seed).spawn(3)
  ]


def _per_user(ratings):
  """`[U]` events of each user."""
  return np.bincount(ratings.user, minlength=ratings.n_users)


def _by_user(ratings):
  """`[E]` places of the events by user, then item."""
  return np.lexsort((ratings.item, ratings.user))


def _since_first(user):
  """`[E]` how many events of the same user come before, in sorted order."""
  return np.arange(user.size) - np.searchsorted(user, user)


def _turns(rng, ratings):
  """`[E]` an event's place, from 0, in a random order of its user's events.

  The order depends on who has what, not on how the events are stored.
  """
  order = _by_user(ratings)
  key = rng.random(order.size)
  order = order[np.lexsort((key, ratings.user[order]))]
  turn = np.empty(order.size, np.int64)
  turn[order] = _since_first(ratings.user[order])
  return turn


def _groups(rng, pair, share):
  """`[U]` 1 for new users to validate, 2 for those to test, 0 for the rest."""
  if not 0 < share < 0.5:
    raise ValueError(
      f'users must be a share between 0 and 0.5, not {share}: it is tested, '
      'and as many others are validated.'
    )
  people = np.intersect1d(pair.source.user, pair.target.user)
  n = _floor(people.size, share)
  if not n:
    raise DataError(
      f'{people.size} users have items in both domains: users={share} leaves '
      'none to test. Raise the share (config.split.users), or lower the floor '
      'that users must pass (config.data.at_least).'
    )
  group = np.zeros(pair.target.n_users, np.int8)
  order = rng.permutation(people)
  group[order[:n]] = 2
  group[order[n : 2 * n]] = 1
  return group


def _to_rank(draws, ratings, valid, test, n):
  """Both sets of held-out events `[E]`, each event with `n` negatives."""
  if n < 1:
    raise ValueError(f'negatives must be at least 1, not {n}.')
  order = _by_user(ratings)
  for rng, chosen in zip(draws, (valid, test)):
    held = _held_out(ratings, order[chosen[order]])
    drawn = _negatives(rng, ratings, held.user, n)
    yield PerDomain(None, held._replace(negatives=drawn))


def _negatives(rng, ratings, user, n):
  """`[Q, n]` distinct items without an event of `user` `[Q]`, -1 if too few."""
  ranks = _distinct(rng, ratings.n_items - _per_user(ratings)[user], n)
  order = _by_user(ratings)
  owner, item = ratings.user[order].astype(np.int64), ratings.item[order]
  # Of an event: how many items its user lacks come before its own. The k-th
  # that is lacking has as many of the user's items before it as are at most k.
  lacking = item - _since_first(owner)
  width = ratings.n_items + 1
  place = user[:, None].astype(np.int64) * width + ranks
  before = np.searchsorted(owner * width + lacking, place, 'right')
  before -= np.searchsorted(owner, user)[:, None]
  return np.where(ranks < 0, -1, ranks + before).astype(np.int32)


def _distinct(rng, sizes, n):
  """`[Q, n]` distinct numbers from `0` to `sizes` `[Q]`; -1 beyond so many.

  Floyd's sampling (Bentley and Floyd 1987): every set is as likely, though not
  every order of it.
  """
  count = np.minimum(n, sizes)[:, None]
  last = sizes[:, None] - count + np.arange(n)
  drawn = rng.integers(last, endpoint=True)
  for k in range(n):
    taken = (drawn[:, :k] == drawn[:, k, None]).any(axis=1)
    drawn[taken, k] = last[taken, k]
  return np.where(np.arange(n) < count, drawn, -1)


def _three(ratings, seed, test, valid, domain):
  """Training ratings, and what is held out to validate and to test."""
  n = ratings.user.size
  n_test = _floor(n, test)
  n_valid = _floor(n - n_test, valid)
  if min(n_test, n_valid, n - n_test - n_valid) < 1:
    raise DataError(
      f'The {domain} has {n} ratings: test={test} and valid={valid} leave '
      f'{n - n_test - n_valid} to train on, {n_valid} to validate and {n_test} '
      'to test. Each needs at least one: change the shares or lower the floor '
      'that users must pass.'
    )
  part = np.zeros(n, np.int8)
  order = np.random.default_rng(seed).permutation(n)
  part[order[:n_test]] = 2
  part[order[n_test : n_test + n_valid]] = 1
  return (
    pairs.take(ratings, part == 0),
    _held_out(ratings, part == 1),
    _held_out(ratings, part == 2),
  )


def _floor(n, share):
  """`floor(n share)` of the decimal as written: 100 x 0.29 is 29, not 28."""
  return math.floor(n * fractions.Fraction(str(share)))


def _held_out(ratings, chosen):
  return HeldOut(ratings.user[chosen], ratings.item[chosen], ratings.value[chosen])
