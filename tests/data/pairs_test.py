import numpy as np
import pytest

from tests import helpers
from xdomain.data import cache, pairs, synthetic
from xdomain.data.types import DataError, Pair, Ratings, Table


def table(events, origin='toy.csv', duplicates=0):
  """A table from (user, item, value) rows; ids in order of appearance."""
  users = list(dict.fromkeys(user for user, _, _ in events))
  items = list(dict.fromkeys(item for _, item, _ in events))
  ratings = Ratings(
    np.array([users.index(user) for user, _, _ in events], np.int32),
    np.array([items.index(item) for _, item, _ in events], np.int32),
    np.array([value for _, _, value in events], np.float32),
    np.arange(len(events), dtype=np.int64),
    len(users),
    len(items),
  )
  return Table(ratings, users, items, origin, duplicates)


BOOKS = table(
  [
    ('ann', 'emma', 5),
    ('bob', 'emma', 1),
    ('cat', 'dune', 4),
    ('ann', 'ulysses', 2),
    ('dan', 'hamlet', 3),
  ],
  'books.csv',
  duplicates=3,
)
FILMS = table(
  [
    ('eve', 'heat', 5),
    ('cat', 'alien', 4),
    ('ann', 'heat', 3),
    ('cat', 'jaws', 2),
    ('ann', 'alien', 1),
    ('eve', 'fargo', 1),
  ],
  'films.csv',
)


def aligned():
  return pairs.align(BOOKS, FILMS, name='books-films')


def events(ratings, users, items):
  """What was rated, in raw ids, in order."""
  return [
    (str(users[u]), str(items[i]), float(value))
    for u, i, value in zip(ratings.user, ratings.item, ratings.value)
  ]


def assert_same(left, right):
  for a, b in zip(left, right, strict=True):
    np.testing.assert_array_equal(a, b)


# --- Align ------------------------------------------------------------------


def test_only_the_events_of_shared_users_are_left_in_their_order():
  dataset = aligned()
  users, source, target = dataset.ids
  assert events(dataset.pair.source, users, source) == [
    ('ann', 'emma', 5),
    ('cat', 'dune', 4),
    ('ann', 'ulysses', 2),
  ]
  assert events(dataset.pair.target, users, target) == [
    ('cat', 'alien', 4),
    ('ann', 'heat', 3),
    ('cat', 'jaws', 2),
    ('ann', 'alien', 1),
  ]


def test_users_are_numbered_by_the_target_and_items_by_their_own_domain():
  dataset = aligned()
  assert dataset.ids.users.tolist() == ['cat', 'ann']
  assert dataset.ids.source.tolist() == ['emma', 'dune', 'ulysses']
  assert dataset.ids.target.tolist() == ['alien', 'heat', 'jaws']
  assert dataset.pair.target.user.tolist() == [0, 1, 0, 1]
  assert dataset.pair.source.user.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
  'people, users, source, target',
  [
    ('both', ['cat', 'ann'], 'emma dune ulysses', 'alien heat jaws'),
    (
      'source',
      ['cat', 'ann', 'bob', 'dan'],
      'emma dune ulysses hamlet',
      'alien heat jaws',
    ),
    (
      'either',
      ['eve', 'cat', 'ann', 'bob', 'dan'],
      'emma dune ulysses hamlet',
      'heat alien jaws fargo',
    ),
  ],
)
def test_people_of_one_domain_are_kept_on_request(people, users, source, target):
  dataset = pairs.align(BOOKS, FILMS, people=people, name='x')
  ids = dataset.ids
  assert ids.users.tolist() == users
  assert ids.source.tolist() == source.split()
  assert ids.target.tolist() == target.split()
  for table, ratings, items in (
    (BOOKS, dataset.pair.source, ids.source),
    (FILMS, dataset.pair.target, ids.target),
  ):
    read = events(table.ratings, table.users, table.items)
    assert events(ratings, ids.users, items) == [
      event for event in read if event[0] in users
    ]
    assert (ratings.n_users, ratings.n_items) == (len(users), items.size)
  read, kept_of_them = (count for _, count in dataset.trail)
  assert read['shared_users'] == kept_of_them['shared_users'] == 2
  assert kept_of_them['users'] == len(users)


@pytest.mark.parametrize(
  'people, enough',
  [('both', ['ann']), ('source', ['ann']), ('either', ['eve', 'cat', 'ann'])],
)
def test_floors_are_of_the_domains_that_people_are_kept_for(people, enough):
  dataset = pairs.align(BOOKS, FILMS, people=people, name='x')
  left = pairs.at_least(dataset, 2, 2, people)
  assert left.ids.users.tolist() == enough
  assert left.pair.target.n_users == left.pair.source.n_users == len(enough)


@pytest.mark.parametrize(
  'people, fans',
  [
    ('both', ['cat']),
    ('source', ['cat', 'ann']),
    ('either', ['eve', 'cat', 'ann']),
  ],
)
def test_who_likes_something_stays_where_it_counts(people, fans):
  dataset = pairs.align(BOOKS, FILMS, people=people, name='x')
  left = pairs.positives(dataset, 4, people)
  assert left.ids.users.tolist() == fans


def test_somebody_must_be_in_both_whoever_is_kept():
  apart = table([('zoe', 'heat', 5)], 'apart.csv')
  for people in pairs.PEOPLE:
    with pytest.raises(DataError, match='No user rated in both'):
      pairs.align(BOOKS, apart, people=people, name='x')


def test_items_that_nobody_shared_has_rated_are_dropped():
  assert 'hamlet' not in aligned().ids.source
  assert 'fargo' not in aligned().ids.target
  assert aligned().pair.source.n_items == aligned().pair.target.n_items == 3


def test_types_and_times_survive_alignment():
  ratings = aligned().pair.target
  assert ratings.user.dtype == ratings.item.dtype == np.int32
  assert ratings.value.dtype == np.float32
  assert ratings.time.tolist() == [1, 2, 3, 4]


def test_tables_without_times_align():
  untimed = BOOKS._replace(ratings=BOOKS.ratings._replace(time=np.zeros(0, int)))
  assert pairs.align(untimed, FILMS, name='x').pair.source.time.size == 0


def test_raw_ids_may_be_a_list_an_array_or_a_tuple():
  for kind in (np.array, tuple):
    films = FILMS._replace(users=kind(FILMS.users), items=kind(FILMS.items))
    dataset = pairs.align(BOOKS, films, name='x')
    assert cache.digest(dataset) == cache.digest(aligned())
    assert dataset.ids.users.tolist() == ['cat', 'ann']


def test_the_trail_begins_with_both_domains_as_they_were_read():
  (step, read), (_, shared) = aligned().trail
  assert 'books.csv' in step and 'films.csv' in step
  assert read == {
    'users': 5,
    'source_users': 4,
    'source_items': 4,
    'source_ratings': 5,
    'source_duplicates': 3,
    'target_users': 3,
    'target_items': 4,
    'target_ratings': 6,
    'target_duplicates': 0,
    'shared_users': 2,
  }
  assert shared == {
    'users': 2,
    'source_users': 2,
    'source_items': 3,
    'source_ratings': 3,
    'target_users': 2,
    'target_items': 3,
    'target_ratings': 4,
    'shared_users': 2,
  }


def test_no_shared_user_is_an_error_that_shows_an_id_of_each_side():
  books = table([('u12', 'emma', 5)], 'books.csv')
  films = table([('12', 'heat', 5), ('13', 'heat', 5)], 'films.csv')
  with pytest.raises(DataError, match=r"1 in books\.csv, such as 'u12'.*2 in "):
    pairs.align(books, films, name='x')


def test_a_user_who_is_listed_but_rated_nothing_is_not_shared():
  ratings = FILMS.ratings._replace(n_users=4)
  films = FILMS._replace(ratings=ratings, users=[*FILMS.users, 'bob'])
  dataset = pairs.align(BOOKS, films, name='x')
  assert sorted(dataset.ids.users) == ['ann', 'cat']


def test_a_rating_off_the_scale_is_an_error_that_shows_it():
  films = table([('ann', 'heat', 4), ('cat', 'jaws', 10)], 'films.csv')
  with pytest.raises(DataError, match=r"films\.csv: 1 of 2 .* 10 of user 'cat'"):
    pairs.align(BOOKS, films, name='x')
  assert pairs.align(BOOKS, films, scale=(1, 10), name='x').scale == (1, 10)


def test_a_rating_that_is_not_a_number_is_off_the_scale():
  films = table([('ann', 'heat', float('nan'))])
  with pytest.raises(DataError, match='1 of 1 ratings'):
    pairs.align(BOOKS, films, name='x')


# --- Filter -----------------------------------------------------------------


def test_a_floor_per_domain_keeps_who_has_enough_in_each():
  dataset = pairs.at_least(aligned(), source=2, target=2)
  assert dataset.ids.users.tolist() == ['ann']
  assert dataset.ids.source.tolist() == ['emma', 'ulysses']
  assert dataset.ids.target.tolist() == ['heat', 'alien']
  assert dataset.pair.target.user.tolist() == [0, 0]
  assert dataset.pair.target.value.tolist() == [3, 1]


def test_a_floor_in_total_counts_both_domains_together():
  assert pairs.at_least_in_total(aligned(), 3).ids.users.size == 2
  assert pairs.at_least_in_total(aligned(), 4).ids.users.tolist() == ['ann']


def test_a_filter_keeps_every_event_of_those_it_keeps():
  before = synthetic.pair(0)
  after = pairs.at_least(before, 15, 15)
  assert 0 < after.ids.users.size < before.ids.users.size
  for domain in ('source', 'target'):
    old, new = getattr(before.pair, domain), getattr(after.pair, domain)
    expected = [
      event
      for event in events(old, before.ids.users, getattr(before.ids, domain))
      if event[0] in after.ids.users
    ]
    assert expected == events(new, after.ids.users, getattr(after.ids, domain))
    assert np.bincount(new.user).min() >= 15
    assert np.bincount(new.item, minlength=new.n_items).min() >= 1


def test_a_floor_of_one_changes_nothing_after_align():
  assert cache.digest(pairs.at_least(aligned(), 1, 1)) == cache.digest(aligned())


def test_every_filter_is_in_the_trail():
  dataset = pairs.at_least(aligned(), source=2, target=2)
  assert dataset.trail[:-1] == aligned().trail
  step, count = dataset.trail[-1]
  assert step == 'users with at least 2 source and 2 target ratings'
  assert count['users'] == 1
  assert count['target_ratings'] == 2


def test_side_vectors_follow_their_users():
  dataset = aligned()
  side = np.array([[1.0], [2.0]])  # cat, ann
  dataset = dataset._replace(pair=dataset.pair._replace(side=side))
  assert pairs.at_least(dataset, 2, 2).pair.side.tolist() == [[2.0]]


def test_a_floor_that_nobody_reaches_is_an_error_with_counts():
  with pytest.raises(DataError, match=r'none of 2 users .* 0 have .* 2 in the'):
    pairs.at_least(aligned(), source=5, target=2)
  with pytest.raises(DataError, match=r'none of 2 users .* the most is 4'):
    pairs.at_least_in_total(aligned(), 5)


def by_loops(found, users, items):
  """The (user, item) sets of `pairs.core`, one removal after the other."""
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
      {event[:2] for event in events(part, dataset.ids.users, ids)}
      for part, ids in zip(dataset.pair[:2], dataset.ids[1:])
    ]

  core = pairs.core(dataset, 5, 7)
  assert cells(core) == by_loops(cells(dataset), 5, 7)
  assert 0 < core.ids.users.size < pairs.at_least(dataset, 5, 5).ids.users.size
  assert core.trail[-1][0] == ('users with at least 5 ratings in each domain, items 7')


def test_a_core_without_a_floor_for_items_is_a_floor_per_domain():
  dataset = synthetic.pair(0)
  assert cache.digest(pairs.core(dataset, 15, 1)) == cache.digest(
    pairs.at_least(dataset, 15, 15)
  )


def test_a_core_of_nobody_is_an_error():
  with pytest.raises(DataError, match=r'none of 2 users .* Lower the floors'):
    pairs.core(aligned(), 2, 2)


# --- Positives --------------------------------------------------------------


def test_positives_are_the_high_ratings_and_have_value_one():
  dataset = pairs.positives(aligned(), 2)
  users, source, target = dataset.ids
  assert events(dataset.pair.source, users, source) == [
    ('ann', 'emma', 1),
    ('cat', 'dune', 1),
    ('ann', 'ulysses', 1),
  ]
  assert events(dataset.pair.target, users, target) == [
    ('cat', 'alien', 1),
    ('ann', 'heat', 1),
    ('cat', 'jaws', 1),
  ]
  assert dataset.pair.target.value.dtype == np.float32
  assert dataset.pair.target.time.tolist() == [1, 2, 3]
  assert dataset.scale == (0.0, 1.0)


def test_who_likes_nothing_in_one_domain_goes_and_so_do_disliked_items():
  dataset = pairs.positives(aligned(), 4)
  assert dataset.ids.users.tolist() == ['cat']
  assert dataset.ids.source.tolist() == ['dune']
  assert dataset.ids.target.tolist() == ['alien']
  step, count = dataset.trail[-1]
  assert step == 'positives, which are ratings of at least 4'
  assert (count['users'], count['target_ratings']) == (1, 1)


def test_where_there_are_no_ratings_everything_is_positive():
  heard = table([('ann', 'jazz', 1), ('bob', 'soul', 1), ('ann', 'soul', 1)])
  read = table([('bob', 'emma', 2), ('ann', 'emma', 5)])
  dataset = pairs.positives(pairs.align(heard, read, name='x'), 4)
  assert dataset.ids.users.tolist() == ['ann']
  assert dataset.ids.source.tolist() == ['jazz', 'soul']
  dataset = pairs.positives(pairs.align(heard, heard, name='x'), 4)
  assert dataset.pair.source.value.tolist() == [1, 1, 1]


def test_positives_of_positives_are_themselves():
  once = pairs.positives(synthetic.pair(0))
  assert cache.digest(pairs.positives(once)) == cache.digest(once)


def test_a_threshold_that_nobody_reaches_is_an_error_with_the_highest():
  with pytest.raises(DataError, match=r'books-films: nobody .* are 5 and 4\.'):
    pairs.positives(aligned(), 4.5)


def test_where_there_are_no_ratings_all_rows_are_positives():
  rows = [('ann', 'x', 1), ('bob', 'y', 1)]
  dataset = pairs.align(table(rows, 'a.csv'), table(rows, 'b.csv'), name='x')
  assert pairs.positives(dataset).trail[-1][0].endswith('which are all rows')
  assert 'at least 2' in pairs.positives(aligned(), 2).trail[-1][0]


@pytest.mark.parametrize(
  'ids, alike',
  [(['007', 'x'], 1), (['7.0', 'ANN'], 2), (['1', '70', '7.5'], 0)],
)
def test_ids_that_are_nearly_shared_are_counted(ids, alike):
  one = table([(each, 'heat', 5) for each in ids], 'one.csv')
  other = table([('7', 'dune', 5), ('ann', 'dune', 4)], 'other.csv')
  with pytest.raises(DataError, match='No user rated in both') as caught:
    pairs.align(one, other, name='x')
  hint = f' {alike} would have, if ids were written alike'
  assert (hint in str(caught.value)) == bool(alike)


def test_columns_can_stay_when_their_raters_go():
  dataset = pairs.positives(aligned(), 4)
  columns = [pairs.liked_items(table, 4) for table in (BOOKS, FILMS)]
  assert columns == [['emma', 'dune'], ['heat', 'alien']]
  wide = pairs.over_items(dataset, *columns)
  assert wide.ids.source.tolist() == columns[0]
  assert wide.ids.target.tolist() == columns[1]
  assert (wide.pair.source.n_items, wide.pair.target.n_items) == (2, 2)
  for before, after in zip(dataset.pair[:2], wide.pair[:2]):
    assert after.item.dtype == np.int32
    np.testing.assert_array_equal(after.user, before.user)
  assert events(wide.pair.target, wide.ids.users, wide.ids.target) == [
    ('cat', 'alien', 1)
  ]
  assert wide.trail[-1][1]['target_items'] == 2


# --- Auxiliary vectors ------------------------------------------------------


def test_auxiliary_vectors_go_to_their_users_and_zeros_to_others():
  vectors = np.array([[1.0, 2.0], [3.0, 4.0]])
  dataset = pairs.with_side(aligned(), ['zoe', 'ann'], vectors)
  assert dataset.ids.users.tolist() == ['cat', 'ann']
  assert dataset.pair.side.tolist() == [[0, 0], [3, 4]]
  assert dataset.pair.side.dtype == np.float32
  assert dataset.trail[-1][0] == ('auxiliary vectors of 2 numbers for 1 of 2 users')


def test_vectors_of_nobody_are_an_error_that_shows_an_id_of_each_side():
  with pytest.raises(DataError, match=r"such as 'cat', .* of such as 'u12'"):
    pairs.with_side(aligned(), ['u12'], np.ones((1, 2)))


GENRES = {
  'heat': ['Action', 'Crime'],
  'alien': ['Action', 'Drama'],
  'jaws': ['Drama'],
  'fargo': ['Crime'],
}


def test_an_item_of_both_kinds_of_genre_is_in_neither_domain():
  action, drama = pairs.by_genre(FILMS, GENRES, ['Action'], ['Drama'])
  assert events(action.ratings, action.users, action.items) == [
    ('eve', 'heat', 5),
    ('ann', 'heat', 3),
  ]
  assert events(drama.ratings, drama.users, drama.items) == [('cat', 'jaws', 2)]
  assert (action.ratings.n_users, action.ratings.n_items) == (2, 1)


def test_the_origin_of_a_genre_says_what_was_left_out():
  action, _ = pairs.by_genre(FILMS, GENRES, ['Action'], ['Drama'])
  assert action.origin == 'films.csv: Action, not Drama (1 of 4 items)'


def test_genres_that_cannot_be_split_are_errors():
  with pytest.raises(DataError, match='no item has the genre Acton'):
    pairs.by_genre(FILMS, GENRES, ['Acton'], ['Drama'])
  with pytest.raises(DataError, match=r"genres of 1 rated items .* 'fargo'"):
    known = {item: genres for item, genres in GENRES.items() if item != 'fargo'}
    pairs.by_genre(FILMS, known, ['Action'], ['Drama'])
  with pytest.raises(DataError, match='no rated item is Action and not'):
    pairs.by_genre(FILMS, GENRES, ['Action'], ['Drama', 'Crime'])


# --- Other views ------------------------------------------------------------


def test_merging_puts_target_items_first():
  both = pairs.merged(aligned().pair)
  assert both.user.tolist() == [0, 1, 0, 1, 1, 0, 1]
  assert both.item.tolist() == [0, 1, 2, 0, 3, 4, 5]
  assert both.value.tolist() == [4, 3, 2, 1, 5, 4, 2]
  assert (both.n_users, both.n_items) == (2, 6)
  assert both.item.dtype == np.int32
  assert both.time.size == 7


def test_merging_with_a_domain_without_times_has_no_times():
  pair = aligned().pair
  untimed = pair.source._replace(time=np.zeros(0, np.int64))
  assert pairs.merged(pair._replace(source=untimed)).time.size == 0


def test_alone_empties_the_source_and_keeps_its_size():
  pair = aligned().pair
  source, target, _ = pairs.alone(pair)
  assert source.user.size == source.time.size == 0
  assert source.user.dtype == np.int32
  assert (source.n_users, source.n_items) == (2, 3)
  assert target is pair.target


def test_swapping_exchanges_the_vectors_of_the_domains():
  vectors = np.array([[[1.0, 2.0], [3.0, 4.0]]])  # ann's: source, target
  pair = pairs.with_side(aligned(), ['ann'], vectors).pair
  assert pair.side[1].tolist() == [[1, 2], [3, 4]]
  assert pairs.swapped(pair).side[1].tolist() == [[3, 4], [1, 2]]
  shared = pair._replace(side=pair.side[:, 0])
  assert pairs.swapped(shared).side is shared.side


def test_swapping_twice_is_the_pair():
  pair = aligned().pair
  assert pairs.swapped(pair).source is pair.target
  assert pairs.swapped(pairs.swapped(pair)) == pair


# --- Describe ---------------------------------------------------------------


def test_density_is_ratings_over_cells():
  assert pairs.density(aligned().pair.source) == 3 / (2 * 3)
  assert pairs.density(FILMS.ratings) == 6 / (3 * 4)


def test_the_description_shows_every_step_within_80_columns():
  dataset = pairs.at_least(aligned(), source=2, target=2)
  lines = pairs.describe(dataset)
  text = '\n'.join(lines)
  assert lines[0] == 'books-films'
  assert max(map(len, lines)) <= 80
  assert all(step in text for step, _ in dataset.trail)
  assert text.count('users in both') == 1 + len(dataset.trail)
  assert '31.250% dense' in text  # 5 of 4 x 4
  assert 'repeated ratings dropped: 3 and 0' in text


def test_merged_items_of_domains_of_unequal_size_do_not_collide():
  pair = Pair(
    helpers.ratings_of([[0, 0, 1], [1, 1, 2]], 2, 2),
    helpers.ratings_of([[0, 4, 3], [1, 2, 4]], 2, 5),
  )
  both = pairs.merged(pair)
  assert both.item.tolist() == [4, 2, 5, 6]
  assert both.n_items == 7
