import itertools

import numpy as np
import pytest

from xdomain.data import cache, splits, synthetic, views
from xdomain.data.types import DataError, Pair, Ratings


def ratings(n, seed=0):
  """`n` ratings whose time is their place."""
  rng = np.random.default_rng(seed)
  return Ratings(
    rng.integers(7, size=n, dtype=np.int32),
    np.arange(n, dtype=np.int32),
    rng.integers(1, 6, size=n).astype(np.float32),
    np.arange(n),
    7,
    n,
  )


def sizes(split, domain):
  held = (getattr(part, domain) for part in (split.valid, split.test))
  parts = (getattr(split.train, domain), *held)
  return tuple(part.user.size for part in parts)


# DARec's Table 1: ratings of a domain, then (fit, valid, test) at 90 and at 80.
TABLE_1 = {
  'Office Products': (40294, (32639, 3626, 4029), (29013, 3223, 8058)),
  'Movies and TV': (158927, (128732, 14303, 15892), (114428, 12714, 31785)),
  'Sports': (39151, (31713, 3523, 3915), (28189, 3132, 7830)),
  'CDs and Vinyl': (79019, (64007, 7111, 7901), (56895, 6321, 15803)),
  'Android Apps': (34217, (27717, 3079, 3421), (24637, 2737, 6843)),
  'Video Games': (21312, (17263, 1918, 2131), (15345, 1705, 4262)),
  'Toys and Games': (25103, (20334, 2259, 2510), (18075, 2008, 5020)),
  'Automotive': (16448, (13324, 1480, 1644), (11844, 1315, 3289)),
}


@pytest.mark.parametrize('category', TABLE_1)
def test_the_sizes_are_those_of_the_protocol(category):
  n, at_90, at_80 = TABLE_1[category]
  pair = Pair(ratings(n), ratings(100))
  assert sizes(splits.by_ratio(pair, 0), 'source') == at_90
  assert sizes(splits.by_ratio(pair, 0, test=0.2), 'source') == at_80
  swapped = splits.by_ratio(Pair(pair.target, pair.source), 0)
  assert sizes(swapped, 'target') == at_90


@pytest.mark.parametrize(
  ('n', 'share', 'count'),
  [
    (100, 0.29, 29),
    (100, 0.57, 57),
    (30, 0.1, 3),
    (29, 0.1, 2),
    (50, 0.58, 29),
  ],
)
def test_a_share_is_the_decimal_that_was_written(n, share, count):
  split = splits.by_ratio(Pair(ratings(n), ratings(n)), 0, test=share)
  assert split.test.target.user.size == count


def test_the_parts_are_disjoint_and_complete():
  pair = synthetic.pair(0).pair
  split = splits.by_ratio(pair, 3, test=0.2)
  for domain in ('source', 'target'):
    whole = getattr(pair, domain)
    parts = [getattr(split.train, domain)]
    parts += [getattr(held, domain) for held in (split.valid, split.test)]
    events = [
      event for part in parts for event in zip(part.user, part.item, part.value)
    ]
    assert len(set(events)) == len(events)
    assert set(events) == set(zip(whole.user, whole.item, whole.value))


def test_training_keeps_the_order_and_the_times():
  pair = Pair(ratings(200), ratings(300))
  train = splits.by_ratio(pair, 0).train
  for domain, whole in zip(train[:2], pair):
    assert (np.diff(domain.time) > 0).all()
    np.testing.assert_array_equal(whole.value[domain.time], domain.value)
    np.testing.assert_array_equal(whole.user[domain.time], domain.user)
    assert (domain.n_users, domain.n_items) == (whole.n_users, whole.n_items)


def test_ratings_without_times_are_split_too():
  untimed = ratings(50)._replace(time=np.zeros(0, np.int64))
  split = splits.by_ratio(Pair(untimed, untimed), 0)
  assert split.train.source.time.size == 0
  assert sizes(split, 'source') == (41, 4, 5)


def test_side_vectors_stay_with_the_training_pair():
  side = np.ones((7, 2))
  split = splits.by_ratio(Pair(ratings(50), ratings(50), side), 0)
  assert split.train.side is side


def test_the_seed_decides():
  pair = Pair(ratings(200), ratings(200, seed=1))
  first, again, other = (splits.by_ratio(pair, seed) for seed in (4, 4, 5))
  assert splits.digest(first) == splits.digest(again)
  assert splits.digest(first) != splits.digest(other)
  for domain in ('source', 'target'):
    one, two = (getattr(each.test, domain).item for each in (first, other))
    assert set(one.tolist()) != set(two.tolist())


def test_the_split_of_a_domain_does_not_depend_on_the_other():
  source = ratings(200)
  one = splits.by_ratio(Pair(source, ratings(100)), 4)
  two = splits.by_ratio(Pair(source, ratings(333, seed=1)), 4)
  for a, b in zip(one.test.source[:3], two.test.source[:3]):
    np.testing.assert_array_equal(a, b)
  np.testing.assert_array_equal(one.train.source.item, two.train.source.item)


def test_two_domains_of_one_size_are_split_differently():
  split = splits.by_ratio(Pair(ratings(200), ratings(200)), 0)
  held = split.test.source.item, split.test.target.item
  assert set(held[0].tolist()) != set(held[1].tolist())


def test_every_rating_is_as_likely_to_be_held_out():
  pair = Pair(ratings(40), ratings(40))
  times = np.zeros(40)
  for seed in range(400):
    times[splits.by_ratio(pair, seed, test=0.25).test.target.item] += 1
  assert times.sum() == 4000
  # 100 expected of each; the binomial standard deviation is 8.7.
  assert abs(times - 100).max() < 35


def test_a_user_who_loses_every_rating_stays_with_an_empty_row():
  source = ratings(60)
  lone = source._replace(user=np.arange(60, dtype=np.int32), n_users=60)
  pair = Pair(lone, lone)
  split = splits.by_ratio(pair, 0)
  assert split.train.target.n_users == 60
  rows = np.bincount(split.train.target.user, minlength=60)
  assert (rows[split.test.target.user] == 0).all()
  assert rows.sum() == 49


@pytest.mark.parametrize('share', [0, 1, 1.5, -0.1, float('nan')])
def test_a_share_outside_0_and_1_is_an_error(share):
  pair = Pair(ratings(50), ratings(50))
  with pytest.raises(ValueError, match=r'test=.* is not a share between 0 and 1'):
    splits.by_ratio(pair, 0, test=share)
  with pytest.raises(ValueError, match=r'valid=.* is not a share between 0 and 1'):
    splits.by_ratio(pair, 0, valid=share)


def test_a_negative_seed_is_an_error():
  with pytest.raises(ValueError, match='seed=-1 is negative'):
    splits.by_ratio(Pair(ratings(50), ratings(50)), -1)


@pytest.mark.parametrize('n', [0, 1, 9, 10])
def test_too_few_ratings_for_three_sets_are_an_error_with_counts(n):
  with pytest.raises(DataError, match=f'the target has {n} ratings, of which test=0.1'):
    splits.by_ratio(Pair(ratings(50), ratings(n)), 0)
  with pytest.raises(DataError, match=f'the source has {n} ratings'):
    splits.by_ratio(Pair(ratings(n), ratings(50)), 0)


def test_the_fewest_ratings_that_can_be_split_are_split():
  split = splits.by_ratio(Pair(ratings(11), ratings(11)), 0)
  assert sizes(split, 'target') == (9, 1, 1)


def test_the_digest_sees_where_an_event_went():
  split = splits.by_ratio(Pair(ratings(50), ratings(50)), 0)
  exchanged = split._replace(valid=split.test, test=split.valid)
  assert splits.digest(exchanged) != splits.digest(split)


def test_the_digest_of_a_split_by_ratio_is_that_of_committed_results():
  split = splits.by_ratio(Pair(ratings(50), ratings(50)), 0)
  assert splits.digest(split).startswith('2a6f309042721ea8')


def likes(counts, n_items=130, seed=0):
  """A pair in which user `u` has `counts[u]` target items and a source item."""
  rng = np.random.default_rng(seed)
  item = [rng.choice(n_items, n, replace=False) for n in counts]
  user = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
  order = rng.permutation(user.size)
  target = Ratings(
    user[order],
    np.concatenate(item).astype(np.int32)[order],
    np.ones(user.size, np.float32),
    np.arange(user.size),
    len(counts),
    n_items,
  )
  people = np.arange(len(counts), dtype=np.int32)
  source = Ratings(
    people, people % 5, np.ones(people.size, np.float32), people, people.size, 5
  )
  return Pair(source, target)


def cells(events):
  return set(zip(events.user.tolist(), events.item.tolist()))


def items_of(events, user):
  return set(events.item[events.user == user].tolist())


MANY = likes(np.random.default_rng(1).integers(1, 60, size=70))
PROTOCOLS = {
  'leave_one_out': splits.leave_one_out,
  'cold_start': splits.cold_start,
  'partial': lambda *a, **k: splits.partial(*a, shown=0.5, **k),
}
ranked = pytest.mark.parametrize('split', PROTOCOLS.values(), ids=PROTOCOLS)


@ranked
def test_negatives_are_distinct_and_nothing_their_user_has(split):
  made = split(MANY, 3)
  for held in (made.valid.target, made.test.target):
    assert held.user.size == len(held.negatives) > 5
    assert held.negatives.shape[1] == 99
    for user, drawn in zip(held.user, held.negatives):
      has, drawn = items_of(MANY.target, user), drawn.tolist()
      free = MANY.target.n_items - len(has)
      real, padding = drawn[: min(99, free)], drawn[min(99, free) :]
      assert len(set(real)) == len(real)
      assert set(real) <= set(range(MANY.target.n_items)) - has
      assert set(padding) <= {-1}


@ranked
def test_some_users_have_fewer_negatives_than_asked_for(split):
  assert (split(MANY, 3).test.target.negatives == -1).any()


@ranked
def test_the_source_is_never_held_out(split):
  made = split(MANY, 0)
  assert made.valid.source is made.test.source is None
  assert made.train.source is MANY.source


@ranked
def test_held_out_items_come_by_user_with_their_values(split):
  target = MANY.target._replace(value=MANY.target.item / np.float32(7))
  for held in split(MANY._replace(target=target), 0)[1:3]:
    key = held.target.user * 1000 + held.target.item
    assert (np.diff(key) > 0).all()
    np.testing.assert_array_equal(held.target.value, held.target.item / np.float32(7))


@ranked
def test_the_seed_decides_a_ranking_split(split):
  digests = [splits.digest(split(MANY, seed)) for seed in (4, 4, 5)]
  assert digests[0] == digests[1] != digests[2]


@ranked
def test_the_order_of_the_events_does_not_matter(split):
  order = np.random.default_rng(2).permutation(MANY.target.user.size)
  one = split(MANY, 0)
  two = split(MANY._replace(target=views.take(MANY.target, order)), 0)
  assert cache.sha256(one[1:3]) == cache.sha256(two[1:3])
  assert cells(one.train.target) == cells(two.train.target)


@ranked
def test_the_number_of_negatives_does_not_change_what_is_held_out(split):
  one, two = split(MANY, 0), split(MANY, 0, negatives=7)
  for held, other in zip(one[1:3], two[1:3]):
    np.testing.assert_array_equal(held.target.item, other.target.item)
    assert other.target.negatives.shape[1] == 7


def test_validation_and_test_draw_from_different_streams():
  split = splits.leave_one_out(likes([40] * 40), 0, negatives=20)
  one, two = (np.sort(held.target.negatives) for held in split[1:3])
  assert (one != two).any(axis=1).all()


@ranked
def test_side_vectors_stay_with_what_is_trained_on_and_shown(split):
  side = np.ones((70, 2))
  made = split(MANY._replace(side=side), 0)
  assert made.train.side is side
  assert made.shown is None or made.shown.side is side


@ranked
def test_a_bad_seed_or_number_of_negatives_is_an_error(split):
  with pytest.raises(ValueError, match='seed=-1 is negative'):
    split(MANY, -1)
  with pytest.raises(ValueError, match='negatives=0 is below 1'):
    split(MANY, 0, negatives=0)
  with pytest.raises(ValueError, match=r'negatives=10000000 is above the .* items'):
    split(MANY, 0, negatives=10_000_000)


@ranked
def test_the_digest_sees_the_negatives(split):
  made = split(MANY, 0)
  held = made.test.target
  other = held._replace(negatives=held.negatives[::-1].copy())
  moved = made._replace(test=made.test._replace(target=other))
  assert splits.digest(moved) != splits.digest(made)


@pytest.mark.parametrize(
  ('free', 'sets'), [(6, 15), (2, 1), (3, 3)], ids=['some', 'all', 'few']
)
def test_every_set_of_negatives_is_as_likely(free, sets):
  # Users own all items but `free` of 10: two negatives make C(free, 2) sets.
  owned = 10 - free
  item = np.tile(np.arange(10, dtype=np.int32)[-owned:], 3000)
  user = np.repeat(np.arange(3000, dtype=np.int32), owned)
  events = Ratings(user, item, np.ones(user.size), user, 3000, 10)
  drawn = splits.leave_one_out(Pair(events, events), 0, negatives=2)
  kinds, times = np.unique(
    np.sort(drawn.test.target.negatives), axis=0, return_counts=True
  )
  assert len(kinds) == sets
  assert kinds.max() < free
  # The variance of a count is below its mean.
  assert abs(times - 3000 / sets).max() < 4 * (3000 / sets) ** 0.5


def test_one_item_of_a_user_is_tested_and_another_validated():
  split = splits.leave_one_out(MANY, 3)
  parts = [split.train.target, split.valid.target, split.test.target]
  everything = [cell for part in parts for cell in cells(part)]
  assert len(everything) == MANY.target.user.size
  assert set(everything) == cells(MANY.target)
  for part in parts[1:]:
    assert (np.diff(part.user) > 0).all()
  assert split.shown is None


def test_users_with_few_items_are_trained_on_first():
  split = splits.leave_one_out(likes([1, 2, 3, 4]), 0)
  assert split.test.target.user.tolist() == [1, 2, 3]
  assert split.valid.target.user.tolist() == [2, 3]
  assert np.bincount(split.train.target.user).tolist() == [1, 1, 1, 2]


def test_a_user_who_has_every_item_has_no_negatives():
  split = splits.leave_one_out(likes([9, 4], n_items=9), 0, negatives=3)
  assert (split.test.target.negatives[0] == -1).all()
  assert (split.test.target.negatives[1] >= 0).all()


def test_a_user_without_target_items_is_left_alone():
  split = splits.leave_one_out(likes([3, 0, 3]), 0)
  assert split.test.target.user.tolist() == [0, 2]
  assert split.train.target.n_users == 3


def test_every_pair_of_items_is_as_likely_to_be_held_out():
  item = np.tile(np.arange(4, dtype=np.int32), 2400)
  user = np.repeat(np.arange(2400, dtype=np.int32), 4)
  events = Ratings(user, item, np.ones(user.size), user, 2400, 120)
  split = splits.leave_one_out(Pair(events, events), 0)
  both = np.stack([split.test.target.item, split.valid.target.item])
  kinds, times = np.unique(both, axis=1, return_counts=True)
  assert kinds.shape[1] == 12
  # 200 expected of each; the binomial standard deviation is 13.5.
  assert abs(times - 200).max() < 50


def test_training_keeps_its_order_when_one_item_is_left_out():
  train = splits.leave_one_out(MANY, 0).train.target
  assert (np.diff(train.time) > 0).all()
  np.testing.assert_array_equal(MANY.target.item[train.time], train.item)


def test_users_with_too_few_items_to_hold_out_are_an_error():
  with pytest.raises(DataError, match='the most that one of the 2 users has'):
    splits.leave_one_out(likes([1, 1]), 0)
  with pytest.raises(DataError, match='is 2;'):
    splits.leave_one_out(likes([1, 2]), 0)
  with pytest.raises(DataError, match='is 0'):
    splits.leave_one_out(likes([0, 0]), 0)


def test_all_target_items_of_new_users_are_held_out():
  split = splits.cold_start(MANY, 2)
  parts = [split.train.target, split.valid.target, split.test.target]
  people = [set(part.user.tolist()) for part in parts]
  assert [len(group) for group in people] == [56, 7, 7]
  assert len(set.union(*people)) == 70
  everything = [cell for part in parts for cell in cells(part)]
  assert len(everything) == MANY.target.user.size
  assert set(everything) == cells(MANY.target)
  assert split.shown is None


def test_each_item_of_a_new_user_has_negatives_of_its_own():
  pair = likes([30] * 20)
  held = splits.cold_start(pair, 0, negatives=20).test.target
  for user in set(held.user.tolist()):
    drawn = np.sort(held.negatives[held.user == user])
    assert len(np.unique(drawn, axis=0)) == 30


def test_every_user_is_as_likely_to_be_new():
  pair = likes([2] * 20)
  times = np.zeros((2, 20))
  for seed in range(400):
    split = splits.cold_start(pair, seed, negatives=1)
    for row, held in zip(times, split[1:3]):
      row[np.unique(held.target.user)] += 1
  # 40 expected of each; the binomial standard deviation is 6.
  assert times.sum() == 1600
  assert abs(times - 40).max() < 24


def test_new_users_have_items_in_both_domains():
  pair = likes([2] * 30 + [0] * 10)
  only = views.take(pair.source, pair.source.user >= 10)
  for seed in range(20):
    split = splits.cold_start(pair._replace(source=only), seed, users=0.45)
    for held in (split.valid.target, split.test.target):
      people = np.unique(held.user)
      assert people.size == 9
      assert people.min() >= 10
      assert people.max() < 30


@pytest.mark.parametrize('share', [0, 0.5, 1, -0.1, float('nan')])
def test_a_share_that_leaves_nobody_is_an_error(share):
  with pytest.raises(ValueError, match=r'users=.* is not a share between 0 and'):
    splits.cold_start(MANY, 0, users=share)
  with pytest.raises(ValueError, match=r'users=.* is not a share between 0 and'):
    splits.partial(MANY, 0, users=share, shown=0.5)


def test_too_few_people_to_have_new_users_are_an_error():
  with pytest.raises(DataError, match='9 users have items in both domains'):
    splits.cold_start(likes([3] * 9), 0)
  with pytest.raises(DataError, match=r'a share of 0\.1 leaves none to test'):
    splits.partial(likes([3] * 9), 0, shown=0.5)


SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def by_share(pair=MANY, seed=3):
  return [splits.partial(pair, seed, shown=share) for share in SHARES]


def test_partial_data_has_the_people_and_the_training_of_cold_start():
  cold = splits.cold_start(MANY, 3)
  for split in by_share():
    assert cells(split.train.target) == cells(cold.train.target)
    for held, other in zip(split[1:3], cold[1:3]):
      assert held.target.user.tolist() == np.unique(other.target.user).tolist()
      assert cells(held.target) <= cells(other.target)


def test_the_share_of_the_rest_is_shown():
  for share, split in zip(SHARES, by_share()):
    shown = np.bincount(split.shown.target.user, minlength=70)
    everything = np.bincount(MANY.target.user, minlength=70)
    new = [*split.valid.target.user, *split.test.target.user]
    rest = everything[new] - 1
    np.testing.assert_array_equal(shown[new], np.floor(share * rest + 0.5))
    old = np.setdiff1d(np.arange(70), new)
    np.testing.assert_array_equal(shown[old], everything[old])
    assert split.shown.source is MANY.source


def test_what_is_asked_is_neither_shown_nor_trained_on():
  for split in by_share():
    for held in (split.valid.target, split.test.target):
      assert not cells(held) & cells(split.shown.target)
    assert cells(split.train.target) <= cells(split.shown.target)
  asked = cells(split.valid.target) | cells(split.test.target)
  assert cells(split.shown.target) | asked == cells(MANY.target)


def test_a_larger_share_adds_to_a_smaller_one():
  shown = [cells(split.shown.target) for split in by_share()]
  assert all(small < large for small, large in itertools.pairwise(shown))


def test_the_question_is_the_same_for_every_share():
  first, *others = by_share()
  for other in others:
    for held, again in zip(first[1:3], other[1:3]):
      for one, two in zip(held.target, again.target):
        np.testing.assert_array_equal(one, two)
  digests = {splits.digest(split) for split in (first, *others)}
  assert len(digests) == len(SHARES)


def test_every_item_is_as_likely_to_be_shown():
  item = np.tile(np.arange(5, dtype=np.int32), 4000)
  user = np.repeat(np.arange(4000, dtype=np.int32), 5)
  events = Ratings(user, item, np.ones(user.size), user, 4000, 120)
  split = splits.partial(Pair(events, events), 0, shown=0.25, users=0.25)
  new = np.isin(split.shown.target.user, split.test.target.user)
  asked = np.bincount(split.test.target.item, minlength=5)
  shown = np.bincount(split.shown.target.item[new], minlength=5)
  # 200 expected of each; the binomial standard deviation is 12.6.
  assert asked.sum() == shown.sum() == 1000
  assert abs(np.array([asked, shown]) - 200).max() < 50


def test_the_shown_share_is_the_decimal_that_was_written():
  split = splits.partial(likes([51] * 10), 0, shown=0.29)
  shown = split.shown.target.user == split.test.target.user
  assert shown.sum() == 15  # 0.29 x 50 is 14.5, in binary a little less.


def test_a_new_user_with_one_item_is_asked_for_it():
  split = splits.partial(likes([1] * 10), 0, shown=1)
  assert split.test.target.user.size == 1
  assert split.test.target.user not in split.shown.target.user


@pytest.mark.parametrize('share', [-0.1, 1.1, float('nan')])
def test_what_is_shown_must_be_a_share(share):
  with pytest.raises(ValueError, match=r'shown=.* is not a share from 0 to 1'):
    splits.partial(MANY, 0, shown=share)


def test_most_scores_that_a_default_evaluation_takes_bound_its_users(monkeypatch):
  dataset = synthetic.implicit(0, users=300, target_ratings=6000, source_ratings=6000)
  whole = splits.leave_one_out(dataset, 1)
  assert whole.how.left_out == 0
  some = splits.leave_one_out(dataset, 1, evaluated=50)
  assert some.how.options == dict(negatives=99, evaluated=50)
  assert some.test.target.user.size == some.valid.target.user.size == 50
  assert some.how.left_out == whole.test.target.user.size - 50
  np.testing.assert_equal(some.train.target, whole.train.target)
  cells = {tuple(cell) for cell in zip(*whole.test.target[:2])}
  assert cells > {tuple(cell) for cell in zip(*some.test.target[:2])}
  monkeypatch.setattr(splits, 'FEWEST', 10)
  monkeypatch.setattr(splits, 'RANKED', 50 * dataset.pair.target.n_items)
  default = splits.leave_one_out(dataset, 1)
  assert splits.digest(default) == splits.digest(some)
  with pytest.raises(ValueError, match='evaluated=0 is below 1'):
    splits.leave_one_out(dataset, 1, evaluated=0)


def test_users_that_are_evaluated_are_so_with_all_of_their_held_out_items():
  dataset = synthetic.implicit(0, users=300, target_ratings=6000, source_ratings=6000)
  whole = splits.cold_start(dataset, 1, users=0.3).test.target
  some = splits.cold_start(dataset, 1, users=0.3, evaluated=100).test.target
  assert 80 < some.user.size <= 100
  mine = np.isin(whole.user, some.user)
  np.testing.assert_array_equal(whole.item[mine], some.item)
