"""Splits by time: no training interaction is later than a cut."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from xdomain.data import audit, splits, splits_by_time, synthetic, views
from xdomain.data.types import DataError

RANKED = (splits_by_time.time_split, splits_by_time.time_cold_start)
SEEDS = strategies.integers(0, 2**32)


def timed(seed=0, moments=10_000, late=0):
  """A planted pair with random times; the first users come late to the target."""
  made = synthetic.implicit(
    1, users=300, target=40, source_ratings=6000, target_ratings=5000
  )
  rng = np.random.default_rng(seed)
  source, target = (
    part._replace(time=rng.integers(moments, size=part.user.size))
    for part in made.pair[:2]
  )
  first = np.where(np.arange(300) < late, rng.integers(moments // 2, moments, 300), 0)
  begin = first[target.user]
  target = target._replace(time=begin + target.time * (moments - begin) // moments)
  return made._replace(pair=made.pair._replace(source=source, target=target))


def moment(dataset, held):
  """`[Q]` the times of held-out interactions."""
  target = dataset.pair.target
  times = {(u, i): t for u, i, t in zip(target.user, target.item, target.time)}
  return np.array([times[cell] for cell in zip(held.user, held.item)])


@pytest.mark.parametrize('split_of', RANKED)
@hypothesis.given(SEEDS)
@hypothesis.settings(max_examples=10, deadline=None, derandomize=True)
def test_training_is_before_validation_and_that_before_the_test(split_of, seed):
  dataset = timed(seed, late=80)
  split = split_of(dataset, seed)
  trained = np.concatenate([part.time for part in split.train[:2]])
  validated, tested = (
    moment(dataset, each.target) for each in (split.valid, split.test)
  )
  assert trained.max() < validated.min() and validated.max() < tested.min()
  found = audit.audit(dataset, split)
  assert found['older'].count == found['test_trained'].count == 0
  assert not found['older'].fault


def test_every_later_interaction_that_can_be_predicted_is_a_query():
  dataset = timed()
  split = splits_by_time.time_split(dataset, test=0.2, valid=0.1, negatives=5)
  target, train = dataset.pair.target, split.train.target
  known = np.isin(target.user, train.user) & np.isin(target.item, train.item)
  late = known & (target.time >= moment(dataset, split.test.target).min())
  assert split.test.target.user.size == late.sum()
  assert late.sum() == pytest.approx(0.2 * target.user.size, rel=0.1)
  users, count = np.unique(split.test.target.user, return_counts=True)
  assert count.max() > 1 and np.isin(users, train.user).all()


def test_negatives_are_items_that_training_knows_and_the_user_never_has():
  split = splits_by_time.time_split(timed(), negatives=8)
  liked = set(zip(*(column.tolist() for column in timed().pair.target[:2])))
  known = set(split.train.target.item.tolist())
  for fold in (split.valid.target, split.test.target):
    for user, row in zip(fold.user.tolist(), fold.negatives.tolist()):
      drawn = [item for item in row if item >= 0]
      assert len(set(drawn)) == len(drawn) and set(drawn) <= known
      assert not any((user, item) in liked for item in drawn)


def test_cold_start_users_have_the_source_alone_before_they_come():
  dataset = timed(late=80)
  split = splits_by_time.time_cold_start(dataset)
  tested = np.unique(split.test.target.user)
  assert tested.size > 3 and tested.max() < 80
  assert not np.isin(tested, split.train.target.user).any()
  assert np.isin(tested, split.train.source.user).all()
  validated = np.unique(split.valid.target.user)
  assert not np.isin(validated, tested).any()


def test_the_last_item_is_tested_and_the_source_ends_with_it():
  dataset = timed()
  split = splits_by_time.leave_last_out(dataset)
  target = dataset.pair.target
  last = np.zeros(target.n_users, int)
  np.maximum.at(last, target.user, target.time)
  np.testing.assert_array_equal(
    moment(dataset, split.test.target), last[split.test.target.user]
  )
  cut = dict(
    zip(split.valid.target.user.tolist(), moment(dataset, split.valid.target).tolist())
  )
  source = split.train.source
  assert all(t <= cut.get(u, t) for u, t in zip(source.user.tolist(), source.time))
  assert views.per_user(source).sum() < dataset.pair.source.user.size
  assert audit.audit(dataset, split)['older_of_user'].count == 0


def test_one_moment_breaks_no_tie_by_the_order_of_items():
  dataset = timed(moments=1)
  first, again, other = (
    splits_by_time.leave_last_out(dataset, seed).test.target.item for seed in (0, 0, 1)
  )
  np.testing.assert_array_equal(first, again)
  assert (first != other).mean() > 0.3


def test_ratings_of_both_domains_are_cut_at_the_same_moments():
  rated = synthetic.pair(0)
  rng = np.random.default_rng(0)
  source, target = (
    part._replace(time=rng.integers(1000, size=part.user.size))
    for part in rated.pair[:2]
  )
  split = splits_by_time.rating_by_time(
    rated._replace(pair=rated.pair._replace(source=source, target=target))
  )
  limit = split.train.target.time.max()
  assert split.train.source.time.max() <= limit + 1
  for domain, whole in (('source', source), ('target', target)):
    parts = [getattr(each, domain) for each in (split.train, split.valid, split.test)]
    assert sum(part.user.size for part in parts) == whole.user.size
  tested = split.test.target.user.size
  assert tested == pytest.approx(0.1 * target.user.size, abs=5)


def test_a_planted_future_item_is_found():
  dataset = timed()
  split = splits_by_time.time_split(dataset)
  planted = split._replace(train=split.train._replace(source=dataset.pair.source))
  found = audit.audit(dataset, planted)
  assert found['older'].fault and found['older'].count > 0
  assert 'older' in [each.name for each in found.faults]


def test_without_times_a_split_by_time_is_refused():
  made = synthetic.implicit(1)
  nothing = np.zeros(0, int)
  pair = made.pair._replace(target=made.pair.target._replace(time=nothing))
  for split_of in (*RANKED, splits_by_time.leave_last_out):
    with pytest.raises(DataError, match='the target has none; name the column'):
      split_of(pair)
  with pytest.raises(DataError, match='one moment only'):
    splits_by_time.time_split(timed(moments=1))


def test_a_random_split_of_timed_data_is_no_fault():
  dataset = timed()
  found = audit.audit(dataset, splits.leave_one_out(dataset))
  assert found['older'].count > 0 and not found['older'].fault
