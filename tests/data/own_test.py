"""Pairs of files of one's own: what differs between them, leaks, the cache."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from xdomain.data import align, cache, own, sources, splits, types
from xdomain.data.readers import tables

USERS, EACH = 30, 8


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
  monkeypatch.setenv('XDOMAIN_DATA', str(tmp_path / 'cache'))
  monkeypatch.chdir(tmp_path)
  return tmp_path


def rows(letter, user=str, stars=lambda n: n % 5 + 1, users=USERS):
  """Rows of (user, item, rating, day) of one domain."""
  return [
    (
      user(u),
      f'{letter}{(u * (4 if letter == "t" else 3) + k * 5) % 17}',
      stars(u + k),
      f'2021-03-{k + 1:02}',
    )
    for u in range(users)
    for k in range(EACH)
  ]


def write(name, rows, header='user,item,rating,day', separator=','):
  lines = [header.split(','), *rows]
  text = '\n'.join(separator.join(map(str, line)) for line in lines)
  with open(name, 'w', encoding='utf-8') as file:
    file.write(text + '\n')
  return name


def load(source, target, **options):
  return own.load_pair(source, target, say=lambda line: None, **options)


def test_an_unknown_option_of_load_pair_is_refused_with_the_known_ones():
  with pytest.raises(types.DataError, match=r'positive=3 is no option .*at_least'):
    own.load_pair('films.csv', 'books.csv', positive=3)


def test_the_two_files_may_differ_in_everything():
  write('films.csv', rows('s'), 'user_id,item_id,stars,when')
  later = [(u, i, f'{r},5', f'{day}T10:00:00Z') for u, i, r, day in rows('t')]
  write('books.csv', later, 'reader,isbn,score,date_read', ';')
  columns = dict(
    user=('user_id', 'reader'),
    item='item_id,isbn',
    rating='stars,score',
    time=('when', 'date_read'),
  )
  for separator in ('', ',;', (',', ';'), 'comma,semicolon'):
    dataset = load('films.csv', 'books.csv', separator=separator, **columns)
    assert dataset.pair.target.n_users == USERS
    assert set(dataset.pair.target.value.tolist()) == {1.5, 2.5, 3.5, 4.5, 5.5}
    day = dataset.pair.source.time[0], dataset.pair.target.time[0]
    assert day == (1614556800, 1614592800)
  with pytest.raises(types.DataError, match=r"films.csv.* separator=','") as caught:
    load('films.csv', 'books.csv', separator=';', **columns)
  assert "separator=';'" not in str(caught.value)


def test_a_header_is_found_out_for_each_file(folder):
  write('films.csv', rows('s'))
  lines = [','.join(map(str, row)) for row in rows('t')]
  (folder / 'books.csv').write_text('\n'.join(lines))
  dataset = load('films.csv', 'books.csv', user=0, item=1, rating='2')
  assert dataset.pair.source.user.size == dataset.pair.target.user.size == USERS * EACH


def test_scales_are_found_out_and_a_source_on_another_is_mapped():
  write('films.csv', rows('s', stars=lambda n: 2 * (n % 5) + 2))
  write('books.csv', rows('t'))
  dataset = load('films.csv', 'books.csv')
  assert dataset.scale == (1, 5)
  expected = 1 + (np.array([2, 4, 6, 8, 10]) - 1) * 4 / 9
  np.testing.assert_allclose(np.unique(dataset.pair.source.value), expected, rtol=1e-6)
  assert 'source ratings of 1 to 10 mapped' in dataset.trail[-2][0]
  same = load('films.csv', 'books.csv', scale=((2, 10), (1, 5)))
  assert np.unique(same.pair.source.value).tolist() == [1, 2, 3, 4, 5]


def test_positives_are_three_quarters_up_the_scale_of_each_domain():
  write('films.csv', rows('s', stars=lambda n: 2 * (n % 5) + 2))
  write('books.csv', rows('t'))
  options = dict(source='films.csv', target='books.csv', at_least=1)
  liked = sources.dataset('tables_implicit', len, **options)
  assert 'at least 7.75 and 4' in liked.trail[-2][0]
  pair = sources.dataset('tables_implicit', len, **options, positive=(8, 4))
  assert cache.digest(pair) == cache.digest(liked)
  with pytest.raises(types.DataError, match=r'positive=\(7.75, 4.0\)'):
    sources.dataset('tables_implicit', len, **options, positive=4.0)
  for wrong in ('high', float('nan'), (8, 'a')):
    with pytest.raises(types.DataError, match='is not a rating, nor one of each'):
      sources.dataset('tables_implicit', len, **options, positive=wrong)


@pytest.mark.parametrize(
  ('option', 'value', 'says'),
  [
    ('scale', 3, 'scale=3 is not the lowest and the highest'),
    ('scale', (1, float('inf')), r'scale=\(1, inf\) is not the lowest'),
    ('scale', (), r'scale=\(\) is not the lowest and the highest'),
    ('scale', tuple('(nan,1)'), r"scale='\(nan,1\)' is not the lowest"),
    ('header', 'maybe', "header='maybe' is not known; it takes False, True"),
    ('at_least', -3, 'at_least=-3 is not a number of ratings'),
    ('at_least', '', "at_least='' is not a number of ratings"),
  ],
)
def test_a_malformed_option_is_refused_as_it_was_written(option, value, says):
  write('films.csv', rows('s'))
  write('books.csv', rows('t'))
  with pytest.raises(types.DataError, match=says):
    load('films.csv', 'books.csv', **{option: value})


def test_ratings_of_0_and_1_are_a_scale():
  write('films.csv', rows('s', stars=lambda n: n % 2))
  write('books.csv', rows('t', stars=lambda n: n % 2))
  assert load('films.csv', 'books.csv').scale == (0, 1)
  with pytest.raises(types.DataError, match=r'rating 0 .* scale=\(0.0, 1.0\)'):
    load('films.csv', 'books.csv', scale=(1, 5))


@pytest.mark.parametrize(
  ('written', 'example'),
  [
    (lambda u: f'{u}.0' if u % 2 else str(u), "'1.0' and '1'"),
    (lambda u: f'00{u}' if u % 2 else str(u), "'001' and '1'"),
    (lambda u: f'"""{u}"""' if u % 2 else str(u), "'\"1\"' and '1'"),
  ],
)
def test_users_who_would_be_shared_are_always_counted(written, example):
  write('films.csv', rows('s', written))
  write('books.csv', rows('t'))
  step, count = load('films.csv', 'books.csv').trail[1]
  assert count['shared_users'] == USERS // 2
  assert f'{USERS // 2} more would be' in step and example in step


def test_ids_in_two_unicode_forms_are_one():
  write('films.csv', rows('s', lambda u: f'Zoe\u0301{u}'))
  write('books.csv', rows('t', lambda u: f'Zo\u00e9{u}'))
  assert load('films.csv', 'books.csv').pair.target.n_users == USERS


def leak():
  """A source that holds every row of the target, and one without them."""
  write('part.csv', rows('t'))
  write('rest.csv', rows('s'))
  write('all.csv', rows('s') + rows('t'))


def test_interactions_of_the_target_are_dropped_from_the_source():
  leak()
  clean = load('rest.csv', 'part.csv')
  said = []
  dataset = own.load_pair('all.csv', 'part.csv', say=said.append)
  assert cache.digest(dataset) == cache.digest(clean)
  n = len({(u, i) for u, i, *_ in rows('t')})
  assert f'less {n} interactions' in dataset.trail[0][0] and said
  kept = load('all.csv', 'part.csv', shared_items='keep', twins='keep')
  assert kept.pair.source.user.size == 2 * clean.pair.source.user.size
  with pytest.raises(types.DataError, match=f'{n} interactions of part.csv'):
    load('all.csv', 'part.csv', shared_items='error')
  with pytest.raises(types.DataError, match="did you mean 'drop'"):
    load('all.csv', 'part.csv', shared_items='drops')
  write('again.csv', rows('t'))
  with pytest.raises(types.DataError, match='every interaction is also in'):
    load('again.csv', 'part.csv')


def test_items_that_are_numbered_alike_are_not_taken_for_the_same():
  write('films.csv', rows(''))
  write('books.csv', rows('', stars=lambda n: (n * 7 + n // 3) % 5 + 1))
  dataset = load('films.csv', 'books.csv', twins='keep')
  assert dataset.pair.source.user.size == USERS * EACH


def test_without_ratings_a_fifth_of_the_target_is_too_much():
  write('books.csv', rows('t'))
  few, many = (rows('s') + rows('t')[:n] for n in (20, 100))
  for extra, kept in ((few, True), (many, False)):
    write('films.csv', extra)
    source, target = (
      tables.read(f'{name}.csv', rating=None) for name in ('films', 'books')
    )
    assert (align.without_target(source, target) is source) == kept


def test_parsed_files_are_kept_by_their_content(folder, monkeypatch):
  write('films.csv', rows('s'))
  write('books.csv', rows('t'))
  first = load('films.csv', 'books.csv')
  (folder / 'films.csv').touch()
  with monkeypatch.context() as patch:
    patch.setattr(tables, 'read', None)
    again = load('films.csv', 'books.csv')
  assert cache.digest(again) == cache.digest(first)
  assert again.trail == first.trail
  assert again.ids.users.tolist() == first.ids.users.tolist()
  write('films.csv', rows('s')[:-1])
  assert cache.digest(load('films.csv', 'books.csv')) != cache.digest(first)
  for path in (folder / 'cache' / 'pairs').iterdir():
    path.write_bytes(b'damaged')
  said = []
  assert cache.digest(own.load_pair('films.csv', 'books.csv', say=said.append))
  assert 'built again' in said[0]


@pytest.mark.parametrize('kind', ['tables', 'tables_implicit'])
def test_a_file_that_changes_while_it_is_read_is_refused(folder, monkeypatch, kind):
  write('films.csv', rows('s'))
  write('books.csv', rows('t'))
  read = tables.read

  def growing(path, **options):
    with open('books.csv', 'a', encoding='utf-8') as file:
      file.write('u,t1,3,4\n')
    return read(path, **options)

  options = dict(source='films.csv', target='books.csv', at_least=1)
  with monkeypatch.context() as patch, pytest.raises(types.DataError) as error:
    patch.setattr(tables, 'read', growing)
    sources.dataset(kind, len, **options)
  assert str(error.value).startswith('books.csv: changed while it was read')
  assert not list((folder / 'cache').rglob('*.npz'))
  assert sources.dataset(kind, len, **options).pair.target.n_users == USERS


def test_a_long_id_does_not_widen_the_others():
  long = 'x' * 50_000
  write('films.csv', rows('s') + [('1', long, 3, 4)])
  write('books.csv', rows('t'))
  ids = load('films.csv', 'books.csv').ids
  assert long in ids.source.tolist()
  assert ids.source.nbytes < 1000


def test_the_home_folder_is_found(folder, monkeypatch):
  monkeypatch.setenv('HOME', str(folder))
  write('films.csv', rows('s'))
  write('books.csv', rows('t'))
  assert load('~/films.csv', '~/books.csv').name == 'films-books'
  with pytest.raises(types.DataError, match=r'no such file; .* working directory'):
    load('~/nowhere.csv', '~/books.csv')
  with pytest.raises(types.DataError, match='is the source and the target'):
    load('~/books.csv', 'books.csv')


def test_ratings_that_positives_were_chosen_from_are_not_read_again(monkeypatch):
  write('films.csv', rows('s'))
  write('books.csv', rows('t'))
  options = dict(source='films.csv', target='books.csv', at_least=1)
  sources.dataset('tables_implicit', len, **options)
  expected = own.TablesImplicit(**options)._rated(len)[0]
  monkeypatch.delattr(tables, 'read')
  found = sources.rated('tables_implicit', positive=3.0, **options)
  assert cache.digest(found) == cache.digest(expected)
  np.testing.assert_array_equal(found.ids.users, expected.ids.users)


def test_a_ranking_split_of_ratings_is_that_of_their_positives():
  write('films.csv', rows('s'))
  write('books.csv', rows('t'))
  rated = load('films.csv', 'books.csv', at_least=1)
  liked = sources.dataset(
    'tables_implicit', len, source='films.csv', target='books.csv', at_least=1
  )
  few = splits.positives(rated, at_least=1)
  assert cache.digest(few) == cache.digest(liked)
  for split in (splits.leave_one_out, splits.cold_start, splits.partial):
    made, plain = split(few, 3), split(liked.pair, 3)
    assert splits.digest(made) == splits.digest(plain)
    assert made.dataset is few and made.how.seed == 3
    assert made.how.protocol == split.__name__
  ratings = splits.by_ratio(rated)
  assert ratings.dataset is rated and ratings.how.protocol == 'rating'


def test_users_without_target_items_stay_in_a_ranking_split():
  write('films.csv', rows('s', users=USERS + 5))
  write('books.csv', rows('t'))
  rated = load('films.csv', 'books.csv', users='source', at_least=1)
  assert splits.positives(rated, at_least=1).pair.target.n_users == USERS + 5


def test_reading_files_imports_no_jax():
  write('films.csv', rows('s'))
  write('books.csv', rows('t'))
  code = (
    'import sys; from xdomain.data import own, splits\n'
    'splits.by_ratio(own.load_pair("films.csv", "books.csv", at_least=1))\n'
    'assert "jax" not in sys.modules'
  )
  env = os.environ | {'PYTHONPATH': str(pathlib.Path(own.__file__).parents[2])}
  subprocess.run([sys.executable, '-c', code], check=True, timeout=60, env=env)
