"""Splits of a pair by time, under which no method can see the future.

A random split trains on what happened after the tested interactions, in both domains
(Meng et al., RecSys 2020; Ji et al., ACM TOIS 2023). Here both domains are cut at the
same moments, and the source shows nothing that is later.
"""

from typing import NamedTuple

import numpy as np

from xdomain.data import splits, views
from xdomain.data.types import DataError, Dataset, How, Pair, PerDomain, Split

NEVER = np.iinfo(np.int64).max


class Cuts(NamedTuple):
  """The moments at which both domains are cut."""

  valid: int  # training interactions are earlier
  test: int  # validated interactions are earlier


def rating_by_time(
  pair: Dataset | Pair, seed: int = 0, *, test: float = 0.1, valid: float = 0.1
) -> Split:
  """Holds the latest ratings out, those of both domains since the same moments.

  Args:
    pair: all ratings, with times.
    seed: of the training; the split does not depend on it.
    test: share of the target's ratings to test on, the latest. Ratings of one moment
      stay together.
    valid: share of the others to validate on.

  Raises:
    DataError: times are not known, or a set would be empty.
    ValueError: a share is not between 0 and 1.
  """
  whole, origin = splits.whole_of(pair)
  cuts = _cuts(whole, valid, test)
  parts = []
  for part in whole[:2]:
    fold = (part.time >= cuts.valid) + 1 * (part.time >= cuts.test)
    parts.append(
      (
        views.take(part, fold == 0),
        *(splits.held_out_of(part, np.flatnonzero(fold == k)) for k in (1, 2)),
      )
    )
  train, validated, tested = zip(*parts, strict=True)
  _check_any(validated[1].user.size, tested[1].user.size, cuts)
  return Split(
    whole._replace(source=train[0], target=train[1]),
    PerDomain(*validated),
    PerDomain(*tested),
    **origin,
    how=How('rating_by_time', seed, dict(test=test, valid=valid)),
  )


def time_split(
  pair: Dataset | Pair,
  seed: int = 0,
  *,
  test: float = 0.1,
  valid: float = 0.1,
  negatives: int = 99,
  evaluated: int | None = None,
) -> Split:
  """Trains on what happened before a moment, and ranks what users chose later.

  Both domains are cut at the same moments: the source shows what was before the first.
  Held-out interactions are those of users and with items that training knows; every
  later one is a query, so a user may have several. Negatives are items that training
  knows.

  Args:
    pair: positives with times; of a dataset with ratings, `positives` chooses them.
    seed: of the negatives and the training.
    test: share of the target's interactions after the second moment.
    valid: share of the others after the first moment.
    negatives: as for `leave_one_out`.
    evaluated: as for `leave_one_out`.

  Raises:
    DataError: times are not known, or nothing is left to validate or to test.
    ValueError: a share is not between 0 and 1, or `negatives` is below 1.
  """

  def later(target, train, cuts):
    known = (views.per_user(train.target) > 0)[target.user]
    since, until = target.time >= cuts.valid, target.time < cuts.test
    return known & since & until, known & ~until

  options = splits.options(evaluated, test=test, valid=valid, negatives=negatives)
  return _ranked(pair, How('time_split', seed, options), later)


def time_cold_start(
  pair: Dataset | Pair,
  seed: int = 0,
  *,
  test: float = 0.1,
  valid: float = 0.1,
  negatives: int = 99,
  evaluated: int | None = None,
) -> Split:
  """Tests users whose first target interaction lies after a moment.

  Until then they have interactions in the source alone, which training sees. Users
  whose first one lies between the two moments are validated on, with what they chose
  in that time.

  Args:
    pair: as for `time_split`, with users of both domains.
    seed: as for `time_split`.
    test: as for `time_split`.
    valid: as for `time_split`.
    negatives: as for `leave_one_out`.
    evaluated: as for `leave_one_out`.

  Raises:
    DataError: as for `time_split`.
    ValueError: as for `time_split`.
  """

  def of_new_users(target, train, cuts):
    first = np.full(target.n_users, NEVER)
    np.minimum.at(first, target.user, target.time)
    first = np.where(views.per_user(train.source) > 0, first, -NEVER)[target.user]
    between = (first >= cuts.valid) & (first < cuts.test)
    return between & (target.time < cuts.test), first >= cuts.test

  options = splits.options(evaluated, test=test, valid=valid, negatives=negatives)
  return _ranked(pair, How('time_cold_start', seed, options), of_new_users)


def leave_last_out(
  pair: Dataset | Pair,
  seed: int = 0,
  *,
  negatives: int = 99,
  evaluated: int | None = None,
) -> Split:
  """Holds the last target item of each user out to test, the one before to validate.

  The source shows nothing of a user that is later than the validated item. What other
  users did later is seen, in both domains.

  Args:
    pair: as for `time_split`.
    seed: of the order of items of one moment, the negatives and the training.
    negatives: as for `leave_one_out`.
    evaluated: as for `leave_one_out`.

  Raises:
    DataError: times are not known, or no user has enough target items.
    ValueError: the seed is negative, or `negatives` is below 1.
  """
  whole, origin = splits.whole_of(pair, implicit=True)
  _check_times(whole)
  rng, *draws = splits.streams(seed)
  source, target = whole.source, whole.target
  order = splits.by_user(target)
  key = rng.random(order.size)
  order = order[np.lexsort((key, -target.time[order], target.user[order]))]
  turn = np.empty(order.size, np.int64)
  turn[order] = splits.since_first(target.user[order])
  test, valid = splits.tested_and_validated(turn, target)
  how = How('leave_last_out', seed, splits.options(evaluated, negatives=negatives))
  cut = np.full(target.n_users, NEVER)
  np.minimum.at(cut, target.user[test | valid], target.time[test | valid])
  return Split(
    whole._replace(
      source=views.take(source, source.time <= cut[source.user]),
      target=views.take(target, ~(test | valid)),
    ),
    **splits.to_rank(draws, target, valid, test, how),
    **origin,
  )


def _ranked(pair, how, choose) -> Split:
  """The split that ranks interactions with items that training knows.

  Args:
    pair: as for `time_split`.
    how: the name of the split, the seed and the options.
    choose: `(target, train, cuts)` -> `[E]` whether an interaction is validated on, and
      whether it is tested on.
  """
  whole, origin = splits.whole_of(pair, implicit=True)
  cuts = _cuts(whole, how.options['valid'], how.options['test'])
  target, train = whole.target, _before(whole, cuts.valid)
  known = views.per_item(train.target) > 0
  valid, test = (chosen & known[target.item] for chosen in choose(target, train, cuts))
  _check_any(valid.sum(), test.sum(), cuts)
  _, *draws = splits.streams(how.seed)
  return Split(
    train,
    **splits.to_rank(draws, target, valid, test, how, known),
    **origin,
  )


def _before(pair, moment) -> Pair:
  """The interactions of both domains before a moment."""
  source, target = (views.take(part, part.time < moment) for part in pair[:2])
  return pair._replace(source=source, target=target)


def _cuts(pair, valid, test) -> Cuts:
  """The moments after which the shares of the target's interactions lie."""
  splits.check_shares(test=test, valid=valid)
  _check_times(pair)
  times = np.sort(pair.target.time)
  later = times[times.size - max(1, splits.part_of(times.size, test))]
  rest = times[times < later]
  if not rest.size:
    raise DataError('the target has interactions of one moment only')
  return Cuts(
    int(rest[rest.size - max(1, splits.part_of(rest.size, valid))]), int(later)
  )


def _check_times(pair):
  for name, part in (('source', pair.source), ('target', pair.target)):
    if part.time.size != part.user.size or not part.user.size:
      raise DataError(
        f'a split by time needs the time of every interaction, and the {name} has none;'
        ' name the column of times, as in time=timestamp'
      )


def _check_any(validated, tested, cuts):
  if not validated or not tested:
    raise DataError(
      f'the moments {cuts.valid} and {cuts.test} leave {validated} interactions to'
      f' validate and {tested} to test that can be predicted from what was before; try'
      ' other shares, or a split without time'
    )
