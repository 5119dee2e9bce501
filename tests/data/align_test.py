import numpy as np
import pytest

from tests.data import toys
from xdomain.data import align, cache, filters
from xdomain.data.types import DataError


def test_only_the_events_of_shared_users_are_left_in_their_order():
  dataset = toys.aligned()
  users, source, target = dataset.ids
  assert toys.events(dataset.pair.source, users, source) == [
    ('ann', 'emma', 5),
    ('cat', 'dune', 4),
    ('ann', 'ulysses', 2),
  ]
  assert toys.events(dataset.pair.target, users, target) == [
    ('cat', 'alien', 4),
    ('ann', 'heat', 3),
    ('cat', 'jaws', 2),
    ('ann', 'alien', 1),
  ]


def test_users_are_numbered_by_the_target_and_items_by_their_own_domain():
  dataset = toys.aligned()
  assert dataset.ids.users.tolist() == ['cat', 'ann']
  assert dataset.ids.source.tolist() == ['emma', 'dune', 'ulysses']
  assert dataset.ids.target.tolist() == ['alien', 'heat', 'jaws']
  assert dataset.pair.target.user.tolist() == [0, 1, 0, 1]
  assert dataset.pair.source.user.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
  'kept, users, source, target',
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
def test_people_of_one_domain_are_kept_on_request(kept, users, source, target):
  dataset = align.align(toys.BOOKS, toys.FILMS, users=kept, name='x')
  ids = dataset.ids
  assert ids.users.tolist() == users
  assert ids.source.tolist() == source.split()
  assert ids.target.tolist() == target.split()
  for table, ratings, items in (
    (toys.BOOKS, dataset.pair.source, ids.source),
    (toys.FILMS, dataset.pair.target, ids.target),
  ):
    read = toys.events(table.ratings, table.users, table.items)
    assert toys.events(ratings, ids.users, items) == [
      event for event in read if event[0] in users
    ]
    assert (ratings.n_users, ratings.n_items) == (len(users), items.size)
  read, kept_of_them = (count for _, count in dataset.trail)
  assert read['shared_users'] == kept_of_them['shared_users'] == 2
  assert kept_of_them['users'] == len(users)


def test_somebody_must_be_in_both_whoever_is_kept():
  apart = toys.table([('zoe', 'heat', 5)], 'apart.csv')
  for kept in filters.USERS:
    with pytest.raises(DataError, match='no user rated in both'):
      align.align(toys.BOOKS, apart, users=kept, name='x')


def test_items_that_nobody_shared_has_rated_are_dropped():
  assert 'hamlet' not in toys.aligned().ids.source
  assert 'fargo' not in toys.aligned().ids.target
  assert toys.aligned().pair.source.n_items == toys.aligned().pair.target.n_items == 3


def test_types_and_times_survive_alignment():
  ratings = toys.aligned().pair.target
  assert ratings.user.dtype == ratings.item.dtype == np.int32
  assert ratings.value.dtype == np.float32
  assert ratings.time.tolist() == [1, 2, 3, 4]


def test_tables_without_times_align():
  untimed = toys.BOOKS._replace(
    ratings=toys.BOOKS.ratings._replace(time=np.zeros(0, int))
  )
  assert align.align(untimed, toys.FILMS, name='x').pair.source.time.size == 0


def test_raw_ids_may_be_a_list_an_array_or_a_tuple():
  for kind in (np.array, tuple):
    films = toys.FILMS._replace(
      users=kind(toys.FILMS.users), items=kind(toys.FILMS.items)
    )
    dataset = align.align(toys.BOOKS, films, name='x')
    assert cache.digest(dataset) == cache.digest(toys.aligned())
    assert dataset.ids.users.tolist() == ['cat', 'ann']


def test_the_trail_begins_with_both_domains_as_they_were_read():
  (step, read), (_, shared) = toys.aligned().trail
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
  books = toys.table([('u12', 'emma', 5)], 'books.csv')
  films = toys.table([('12', 'heat', 5), ('13', 'heat', 5)], 'films.csv')
  with pytest.raises(DataError, match=r"1 in books\.csv, such as 'u12'.*2 in "):
    align.align(books, films, name='x')


def test_a_user_who_is_listed_but_rated_nothing_is_not_shared():
  ratings = toys.FILMS.ratings._replace(n_users=4)
  films = toys.FILMS._replace(ratings=ratings, users=[*toys.FILMS.users, 'bob'])
  dataset = align.align(toys.BOOKS, films, name='x')
  assert sorted(dataset.ids.users) == ['ann', 'cat']


def test_a_rating_off_the_scale_is_an_error_that_shows_it():
  films = toys.table([('ann', 'heat', 4), ('cat', 'jaws', 10)], 'films.csv')
  with pytest.raises(DataError, match=r"films\.csv: 1 of 2 .* 10 of user 'cat'"):
    align.align(toys.BOOKS, films, name='x')
  assert align.align(toys.BOOKS, films, scale=(1, 10), name='x').scale == (1, 10)


def test_a_rating_that_is_not_a_number_is_off_the_scale():
  films = toys.table([('ann', 'heat', float('nan'))])
  with pytest.raises(DataError, match='1 of 1 ratings'):
    align.align(toys.BOOKS, films, name='x')


@pytest.mark.parametrize(
  'ids, alike',
  [(['007', 'x'], 1), (['7.0', 'ANN'], 2), (['1', '70', '7.5'], 0)],
)
def test_ids_that_are_nearly_shared_are_counted(ids, alike):
  one = toys.table([(each, 'heat', 5) for each in ids], 'one.csv')
  other = toys.table([('7', 'dune', 5), ('ann', 'dune', 4)], 'other.csv')
  with pytest.raises(DataError, match='no user rated in both') as caught:
    align.align(one, other, name='x')
  hint = f' {alike} would be shared if ids were written alike'
  assert (hint in str(caught.value)) == bool(alike)


GENRES = {
  'heat': ['Action', 'Crime'],
  'alien': ['Action', 'Drama'],
  'jaws': ['Drama'],
  'fargo': ['Crime'],
}


def test_an_item_of_both_kinds_of_genre_is_in_neither_domain():
  action, drama = align.by_genre(toys.FILMS, GENRES, ['Action'], ['Drama'])
  assert toys.events(action.ratings, action.users, action.items) == [
    ('eve', 'heat', 5),
    ('ann', 'heat', 3),
  ]
  assert toys.events(drama.ratings, drama.users, drama.items) == [('cat', 'jaws', 2)]
  assert (action.ratings.n_users, action.ratings.n_items) == (2, 1)


def test_the_origin_of_a_genre_says_what_was_left_out():
  action, _ = align.by_genre(toys.FILMS, GENRES, ['Action'], ['Drama'])
  assert action.origin == 'films.csv: Action, not Drama (1 of 4 items)'


def test_genres_that_cannot_be_split_are_errors():
  with pytest.raises(DataError, match='no item has the genre Acton'):
    align.by_genre(toys.FILMS, GENRES, ['Acton'], ['Drama'])
  with pytest.raises(DataError, match=r"genres of 1 rated items .* 'fargo'"):
    known = {item: genres for item, genres in GENRES.items() if item != 'fargo'}
    align.by_genre(toys.FILMS, known, ['Action'], ['Drama'])
  with pytest.raises(DataError, match='no rated item is Action and not'):
    align.by_genre(toys.FILMS, GENRES, ['Action'], ['Drama', 'Crime'])
