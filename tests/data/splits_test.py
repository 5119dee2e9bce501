import numpy as np
import pytest

from xdomain.base import Pair, Ratings
from xdomain.data import pairs, splits, synthetic
from xdomain.data.tables import DataError


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
  swapped = splits.by_ratio(pairs.swapped(pair), 0)
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
  with pytest.raises(ValueError, match='test must be a share between 0 and 1'):
    splits.by_ratio(pair, 0, test=share)
  with pytest.raises(ValueError, match='valid must be a share between 0 and 1'):
    splits.by_ratio(pair, 0, valid=share)


def test_a_negative_seed_is_an_error():
  with pytest.raises(ValueError, match='seed must not be negative, not -1'):
    splits.by_ratio(Pair(ratings(50), ratings(50)), -1)


@pytest.mark.parametrize('n', [0, 1, 9, 10])
def test_too_few_ratings_for_three_sets_are_an_error_with_counts(n):
  with pytest.raises(DataError, match=f'The target has {n} ratings: test=0.1'):
    splits.by_ratio(Pair(ratings(50), ratings(n)), 0)
  with pytest.raises(DataError, match=f'The source has {n} ratings'):
    splits.by_ratio(Pair(ratings(n), ratings(50)), 0)


def test_the_fewest_ratings_that_can_be_split_are_split():
  split = splits.by_ratio(Pair(ratings(11), ratings(11)), 0)
  assert sizes(split, 'target') == (9, 1, 1)


def test_the_digest_sees_where_an_event_went():
  split = splits.by_ratio(Pair(ratings(50), ratings(50)), 0)
  exchanged = split._replace(valid=split.test, test=split.valid)
  assert splits.digest(exchanged) != splits.digest(split)
