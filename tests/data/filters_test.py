import numpy as np
import pytest

from tests.data import toys
from xdomain.data import align, cache, filters, synthetic
from xdomain.data.types import DataError


@pytest.mark.parametrize(
  'kept, enough',
  [('both', ['ann']), ('source', ['ann']), ('either', ['eve', 'cat', 'ann'])],
)
def test_floors_are_of_the_domains_that_people_are_kept_for(kept, enough):
  dataset = align.align(toys.BOOKS, toys.FILMS, users=kept, name='x')
  left = filters.at_least(dataset, 2, 2, kept)
  assert left.ids.users.tolist() == enough
  assert left.pair.target.n_users == left.pair.source.n_users == len(enough)


@pytest.mark.parametrize(
  'kept, fans',
  [
    ('both', ['cat']),
    ('source', ['cat', 'ann']),
    ('either', ['eve', 'cat', 'ann']),
  ],
)
def test_who_likes_something_stays_where_it_counts(kept, fans):
  dataset = align.align(toys.BOOKS, toys.FILMS, users=kept, name='x')
  left = filters.positives(dataset, 4, kept)
  assert left.ids.users.tolist() == fans


def test_a_floor_per_domain_keeps_who_has_enough_in_each():
  dataset = filters.at_least(toys.aligned(), source=2, target=2)
  assert dataset.ids.users.tolist() == ['ann']
  assert dataset.ids.source.tolist() == ['emma', 'ulysses']
  assert dataset.ids.target.tolist() == ['heat', 'alien']
  assert dataset.pair.target.user.tolist() == [0, 0]
  assert dataset.pair.target.value.tolist() == [3, 1]


def test_a_floor_in_total_counts_both_domains_together():
  assert filters.at_least_in_total(toys.aligned(), 3).ids.users.size == 2
  assert filters.at_least_in_total(toys.aligned(), 4).ids.users.tolist() == ['ann']


def test_a_filter_keeps_every_event_of_those_it_keeps():
  before = synthetic.pair(0)
  after = filters.at_least(before, 15, 15)
  assert 0 < after.ids.users.size < before.ids.users.size
  for domain in ('source', 'target'):
    old, new = getattr(before.pair, domain), getattr(after.pair, domain)
    expected = [
      event
      for event in toys.events(old, before.ids.users, getattr(before.ids, domain))
      if event[0] in after.ids.users
    ]
    assert expected == toys.events(new, after.ids.users, getattr(after.ids, domain))
    assert np.bincount(new.user).min() >= 15
    assert np.bincount(new.item, minlength=new.n_items).min() >= 1


def test_a_floor_of_one_changes_nothing_after_align():
  assert cache.digest(filters.at_least(toys.aligned(), 1, 1)) == cache.digest(
    toys.aligned()
  )


def test_every_filter_is_in_the_trail():
  dataset = filters.at_least(toys.aligned(), source=2, target=2)
  assert dataset.trail[:-1] == toys.aligned().trail
  step, count = dataset.trail[-1]
  assert step == 'users with at least 2 source and 2 target ratings'
  assert count['users'] == 1
  assert count['target_ratings'] == 2


def test_side_vectors_follow_their_users():
  dataset = toys.aligned()
  side = np.array([[1.0], [2.0]])  # cat, ann
  dataset = dataset._replace(pair=dataset.pair._replace(side=side))
  assert filters.at_least(dataset, 2, 2).pair.side.tolist() == [[2.0]]


def test_a_floor_that_nobody_reaches_is_an_error_with_counts():
  with pytest.raises(DataError, match=r'none of 2 users .* 0 have .* 2 in the'):
    filters.at_least(toys.aligned(), source=5, target=2)
  with pytest.raises(DataError, match=r'none of 2 users .* the most is 4'):
    filters.at_least_in_total(toys.aligned(), 5)


def by_loops(found, users, items):
  """The (user, item) sets of `filters.core`, one removal after the other."""
  while True:
    many = [
      {name for name in by if sum(name in cell for cell in cells) >= floor}
      for cells in found
      for by, floor in (
        ({user for user, _ in cells}, users),
        ({item for _, item in cells}, items),
      )
    ]
    people = many[0] & many[2]
    left = [
      {(u, i) for u, i in cells if u in people and i in popular}
      for cells, popular in zip(found, many[1::2])
    ]
    if left == found:
      return left
    found = left


def test_a_core_is_what_repeated_removal_leaves():
  dataset = synthetic.pair(0, source_ratings=600, target_ratings=500)

  def cells(dataset):
    return [
      {event[:2] for event in toys.events(part, dataset.ids.users, ids)}
      for part, ids in zip(dataset.pair[:2], dataset.ids[1:])
    ]

  core = filters.core(dataset, 5, 7)
  assert cells(core) == by_loops(cells(dataset), 5, 7)
  assert 0 < core.ids.users.size < filters.at_least(dataset, 5, 5).ids.users.size
  assert core.trail[-1][0] == ('users with at least 5 ratings in each domain, items 7')


def test_a_core_without_a_floor_for_items_is_a_floor_per_domain():
  dataset = synthetic.pair(0)
  assert cache.digest(filters.core(dataset, 15, 1)) == cache.digest(
    filters.at_least(dataset, 15, 15)
  )


def test_a_core_of_nobody_is_an_error():
  with pytest.raises(DataError, match=r'none of 2 users .* lower the floors'):
    filters.core(toys.aligned(), 2, 2)


def test_positives_are_the_high_ratings_and_have_value_one():
  dataset = filters.positives(toys.aligned(), 2)
  users, source, target = dataset.ids
  assert toys.events(dataset.pair.source, users, source) == [
    ('ann', 'emma', 1),
    ('cat', 'dune', 1),
    ('ann', 'ulysses', 1),
  ]
  assert toys.events(dataset.pair.target, users, target) == [
    ('cat', 'alien', 1),
    ('ann', 'heat', 1),
    ('cat', 'jaws', 1),
  ]
  assert dataset.pair.target.value.dtype == np.float32
  assert dataset.pair.target.time.tolist() == [1, 2, 3]
  assert dataset.scale == (0.0, 1.0)


def test_who_likes_nothing_in_one_domain_goes_and_so_do_disliked_items():
  dataset = filters.positives(toys.aligned(), 4)
  assert dataset.ids.users.tolist() == ['cat']
  assert dataset.ids.source.tolist() == ['dune']
  assert dataset.ids.target.tolist() == ['alien']
  step, count = dataset.trail[-1]
  assert step == 'positives, which are ratings of at least 4'
  assert (count['users'], count['target_ratings']) == (1, 1)


def test_where_there_are_no_ratings_everything_is_positive():
  heard = toys.table([('ann', 'jazz', 1), ('bob', 'soul', 1), ('ann', 'soul', 1)])
  read = toys.table([('bob', 'emma', 2), ('ann', 'emma', 5)])
  dataset = filters.positives(align.align(heard, read, name='x'), 4)
  assert dataset.ids.users.tolist() == ['ann']
  assert dataset.ids.source.tolist() == ['jazz', 'soul']
  dataset = filters.positives(
    align.align(heard, heard, shared_items='keep', name='x'), 4
  )
  assert dataset.pair.source.value.tolist() == [1, 1, 1]


def test_positives_of_positives_are_themselves():
  once = filters.positives(synthetic.pair(0))
  assert cache.digest(filters.positives(once)) == cache.digest(once)


def test_a_threshold_that_nobody_reaches_is_an_error_with_the_highest():
  with pytest.raises(DataError, match=r'books-films: no user .* are 5 and 4;'):
    filters.positives(toys.aligned(), 4.5)


def test_where_there_are_no_ratings_all_rows_are_positives():
  rows = [('ann', 'x', 1), ('bob', 'y', 1)]
  tables = toys.table(rows, 'a.csv'), toys.table(rows, 'b.csv')
  dataset = align.align(*tables, shared_items='keep', name='x')
  assert filters.positives(dataset).trail[-1][0].endswith('which are all rows')
  assert 'at least 2' in filters.positives(toys.aligned(), 2).trail[-1][0]


def test_columns_can_stay_when_their_raters_go():
  dataset = filters.positives(toys.aligned(), 4)
  columns = [filters.liked_items(table, 4) for table in (toys.BOOKS, toys.FILMS)]
  assert columns == [['emma', 'dune'], ['heat', 'alien']]
  wide = filters.over_items(dataset, *columns)
  assert wide.ids.source.tolist() == columns[0]
  assert wide.ids.target.tolist() == columns[1]
  assert (wide.pair.source.n_items, wide.pair.target.n_items) == (2, 2)
  for before, after in zip(dataset.pair[:2], wide.pair[:2]):
    assert after.item.dtype == np.int32
    np.testing.assert_array_equal(after.user, before.user)
  assert toys.events(wide.pair.target, wide.ids.users, wide.ids.target) == [
    ('cat', 'alien', 1)
  ]
  assert wide.trail[-1][1]['target_items'] == 2


def test_auxiliary_vectors_go_to_their_users_and_zeros_to_others():
  vectors = np.array([[1.0, 2.0], [3.0, 4.0]])
  dataset = filters.with_side(toys.aligned(), ['zoe', 'ann'], vectors)
  assert dataset.ids.users.tolist() == ['cat', 'ann']
  assert dataset.pair.side.tolist() == [[0, 0], [3, 4]]
  assert dataset.pair.side.dtype == np.float32
  assert dataset.trail[-1][0] == ('auxiliary vectors of 2 numbers for 1 of 2 users')


def test_vectors_of_nobody_are_an_error_that_shows_an_id_of_each_side():
  with pytest.raises(DataError, match=r"such as 'cat', .* of such as 'u12'"):
    filters.with_side(toys.aligned(), ['u12'], np.ones((1, 2)))


def test_a_sample_of_users_is_the_same_in_every_call():
  dataset = synthetic.pair(0, users=60)
  left = filters.sample(dataset, 20)
  assert left.pair.target.n_users == left.ids.users.size == 20
  assert left.trail[-1][0] == 'a random sample of 20 of 60 users'
  assert cache.digest(left) == cache.digest(filters.sample(dataset, 20))
  assert filters.sample(dataset, 60) is filters.sample(dataset, 0) is dataset
  with pytest.raises(DataError, match='most_users=-1 is negative'):
    filters.sample(dataset, -1)
