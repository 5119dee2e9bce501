import pathlib

import numpy as np
import pytest

from configs import common
from experiments import program
from tests.data import toys
from xdomain.data import cache, sources, types, views
from xdomain.data.readers import amazon, download, movielens


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
  monkeypatch.setenv('XDOMAIN_DATA', str(tmp_path / 'cache'))
  return tmp_path / 'cache'


def said():
  """A `say` that keeps what it was told, and what it was told."""
  lines = []
  return lines.append, lines


def write_amazon(folder, pair, users=12, each=6):
  """Small files of a pair; half of the users have too few target ratings."""
  folder.mkdir(parents=True)
  names = [amazon.CATEGORIES[p.category] for p in amazon.PAIRS[pair][:2]]
  for side, name in enumerate(names):
    rows = [
      f'u{u},{name[0]}{(u + i) % 9},{1 + (u * i) % 5}.0,{1000 + i}'
      for u in range(users)
      for i in range(each if u % 2 or side == 0 else 2)
    ]
    (folder / f'ratings_{name}.csv').write_text('\n'.join(rows) + '\n')
  return folder / f'ratings_{names[0]}.csv'


def test_an_amazon_pair_is_filtered_and_told_beside_table_1(cache_folder):
  write_amazon(cache_folder / 'amazon', 3)
  say, lines = said()
  dataset = sources.dataset('amazon', say, pair=3, at_least=5)
  text = '\n'.join(lines)
  assert '2,034' in text and '34,217' in text
  assert dataset.name == 'amazon_3'
  # Per domain 6 of the 12 users are left, in total all: nearer to Table 1.
  assert dataset.pair.target.n_users == 12
  assert 'together' in dataset.trail[-1][0] or 'total' in dataset.trail[-1][0]


def test_a_parsed_pair_is_cached_until_its_file_changes(cache_folder, monkeypatch):
  path = write_amazon(cache_folder / 'amazon', 3)
  say, _ = said()
  first = sources.dataset('amazon', say, pair=3, at_least=5)

  def unexpected(path):
    raise AssertionError(f'{path} was read again')

  with monkeypatch.context() as patch:
    patch.setattr(amazon, 'read', unexpected)
    again = sources.dataset('amazon', say, pair=3, at_least=5)
    assert cache.digest(again) == cache.digest(first)
    assert again.trail == first.trail
  path.write_text(path.read_text() + 'u1,new,5.0,2000\n')
  other = sources.dataset('amazon', say, pair=3, at_least=5)
  assert cache.digest(other) != cache.digest(first)


def own(tmp_path, **changes):
  for name in ('source', 'target'):
    rows = [
      f'u{u}\t{name[0]}{(u + i) % 7}\t{1 + i % 5}' for u in range(8) for i in range(6)
    ]
    (tmp_path / f'{name}.tsv').write_text('\n'.join(rows) + '\n')
  options = dict(
    source=str(tmp_path / 'source.tsv'),
    target=str(tmp_path / 'target.tsv'),
    user='0',
    item='1',
    rating='2',
    time='',
    header=False,
    separator='',
    scale=(1.0, 5.0),
    users='both',
    at_least=5,
  )
  return options | changes


def test_own_tables_without_a_header_are_read_by_places(tmp_path):
  say, _ = said()
  dataset = sources.dataset('tables', say, **own(tmp_path))
  assert dataset.pair.target.n_users == 8
  assert set(dataset.ids.users) == {f'u{u}' for u in range(8)}


def test_own_tables_without_ratings_count_every_row_as_one(tmp_path):
  say, _ = said()
  dataset = sources.dataset('tables', say, **own(tmp_path, rating=''))
  np.testing.assert_array_equal(dataset.pair.target.value, 1)


@pytest.mark.parametrize(
  ('kind', 'options', 'message'),
  [
    ('movielen', {}, "kind='movielen' is not known; did you mean 'movielens'"),
    ('movielens', {'at_lest': 5}, "at_lest=5 is no option of 'movielens'"),
    ('synthetic', {'user': 5}, "user=5 is no option of 'synthetic'"),
  ],
)
def test_an_unknown_name_is_answered_with_a_near_one(kind, options, message):
  with pytest.raises(types.DataError) as error:
    sources.dataset(kind, print, **options)
  assert message in str(error.value)


def test_a_file_that_is_not_named_is_asked_for(tmp_path):
  with pytest.raises(types.DataError, match="target='' names no file"):
    sources.dataset('tables', print, **own(tmp_path, target=''))


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (dict(user=''), "user='' names no column"),
    (dict(scale=(5.0, 1.0)), 'scale=(5.0, 1.0) is not'),
    (dict(scale=(5.0,)), 'scale=(5.0,) is not'),
    (dict(scale=('a', 'b')), "scale='ab' is not"),
    (dict(users='all'), 'it takes both, source, either'),
  ],
)
def test_a_wrong_option_is_named(tmp_path, changes, message):
  with pytest.raises(types.DataError) as error:
    sources.dataset('tables', print, **own(tmp_path, **changes))
  assert message in str(error.value)


def test_one_file_is_not_two_domains(tmp_path):
  options = own(tmp_path)
  with pytest.raises(types.DataError, match='is the source and the target'):
    sources.dataset('tables', print, **options | {'target': options['source']})


def test_columns_may_be_named_differently_in_the_two_files(tmp_path):
  options = own(tmp_path)
  rows = [
    line.split('\t') for line in (tmp_path / 'target.tsv').read_text().splitlines()
  ]
  (tmp_path / 'target.tsv').write_text(''.join(f'{r}\t{i}\t{u}\n' for u, i, r in rows))
  options |= dict(user='0,2', item='1,1', rating='2, 0')
  dataset = sources.dataset('tables', print, **options)
  assert dataset.pair.target.n_users == 8


def test_a_cache_that_cannot_be_written_does_not_stop_a_run(cache_folder):
  write_amazon(cache_folder / 'amazon', 3)
  (cache_folder / 'pairs').write_text('a file where a folder should be')
  say, lines = said()
  sources.dataset('amazon', say, pair=3, at_least=5)
  assert any('not kept' in line for line in lines)


def test_a_filter_that_leaves_too_little_says_how_much(tmp_path):
  with pytest.raises(types.DataError, match='100'):
    sources.dataset('tables', print, **own(tmp_path, at_least=100))


# --- Positives --------------------------------------------------------------

MOVIES = {
  1: ('Toy Story (1995)', ('Comedy',)),
  2: ('Heat (1995)', ('Action', 'Crime')),
  3: ('Speed (1994)', ('Action',)),
  4: ('Sabrina (1995)', ('Romance', 'Comedy')),
  5: ('Emma (1996)', ('Drama',)),
  6: ('Rob Roy (1995)', ('Action', 'Drama')),
  7: ('Fargo (1996)', ('Crime',)),
  8: ('Big (1988)', ('Fantasy',)),
  9: ('Drop Zone (1994)', ('Action',)),
}
# Ann and Bob like films of both kinds. Cat likes just one of action, and she
# alone likes Big; nobody likes Drop Zone.
STARS = {
  1: {1: 5, 2: 4, 3: 5, 4: 4, 5: 4, 6: 5, 7: 5, 9: 3},
  2: {1: 4, 2: 5, 3: 4, 4: 3, 5: 5, 8: 2},
  3: {1: 5, 2: 5, 3: 3, 4: 5, 5: 5, 8: 5, 9: 1},
}


@pytest.fixture
def toy(tmp_path, monkeypatch):
  """The films above in GroupLens's form, in place of MovieLens."""
  path = toys.write_movielens(
    tmp_path / 'ml',
    [
      (user, movie, stars, 100 * user + movie)
      for user, seen in STARS.items()
      for movie, stars in seen.items()
    ],
    MOVIES,
    [('F', 25, 3, '1'), ('M', 18, 0, '2'), ('F', 35, 20, '3')],
  )
  monkeypatch.setattr(download, 'movielens_1m', lambda say: path)


def liked(dataset):
  """Raw (user, item) of each domain."""
  users = dataset.ids.users
  return [
    {(users[u], ids[i]) for u, i in zip(part.user, part.item)}
    for part, ids in zip(dataset.pair[:2], dataset.ids[1:])
  ]


MOVIELENS = common.data('movielens_implicit') | dict(source_at_least=2)


def test_the_rules_of_table_2_on_a_toy(toy):
  say, lines = said()
  dataset = sources.dataset(say=say, **MOVIELENS | dict(target_at_least=1))
  heat, speed, sabrina, emma, big = (MOVIES[n][0] for n in (2, 3, 4, 5, 8))
  assert liked(dataset) == [
    {('1', heat), ('1', speed), ('2', heat), ('2', speed)},
    {('1', sabrina), ('1', emma), ('2', emma)},
  ]
  assert set(dataset.ids.source) == {heat, speed}
  assert set(dataset.ids.target) == {sabrina, emma, big}  # Cat's stays.
  np.testing.assert_array_equal(dataset.pair.target.value, 1)
  assert '150,615' in '\n'.join(lines)


def test_the_small_movielens_has_the_domains_of_the_large_one(toy, monkeypatch):
  read = movielens.read
  monkeypatch.setattr(download, 'movielens_100k', lambda say: None)
  monkeypatch.setattr(cache, 'cached', lambda say, build, *_: build())
  path = download.movielens_1m(len)
  monkeypatch.setattr(movielens, 'read', lambda *_, **size: read(path))
  for kind, least in (('movielens', 'at_least'), ('movielens_implicit', '')):
    options = {least: 1} if least else dict(source_at_least=2, target_at_least=1)
    small = kind.replace('movielens', 'movielens_100k')
    dataset = sources.dataset(kind=small, say=len, **options)
    assert dataset.name == small
    options |= {} if least else dict(first_movie_dropped=False)
    assert liked(dataset) == liked(sources.dataset(kind=kind, say=len, **options))


def test_the_first_movie_is_there_on_request(toy):
  dataset = sources.dataset(say=len, **MOVIELENS | dict(first_movie_dropped=False))
  first = MOVIES[1][0]
  assert {('1', first), ('2', first)} < liked(dataset)[1]
  assert 'Toy Story (1995)' in dataset.ids.target


def test_demographics_follow_their_users_through_the_filters(toy):
  dataset = sources.dataset(say=len, **MOVIELENS)
  assert dataset.ids.users.tolist() == ['1']  # Bob likes one film of the target.
  assert dataset.pair.side.shape == (1, 30)
  assert np.flatnonzero(dataset.pair.side[0]).tolist() == [0, 2 + 2, 9 + 3]


def test_likes_of_movies_and_books_are_told_beside_table_2(cache_folder):
  (cache_folder / 'amazon').mkdir(parents=True)
  for name, each in (('Movies_and_TV', 6), ('Books', 8)):
    rows = [
      f'u{u},{name[0]}{(u + i) % 9},{1 + (u * i) % 5}.0,{1000 + i}'
      for u in range(12)
      for i in range(each)
    ]
    text = '\n'.join(rows) + '\nx,x,5.0,1\n'
    (cache_folder / 'amazon' / f'ratings_{name}.csv').write_text(text)
  say, lines = said()
  options = common.data('amazon_implicit') | dict(at_least=2, item_at_least=1)
  dataset = sources.dataset(say=say, **options)
  assert dataset.name == 'amazon_implicit' and dataset.scale == (0, 1)
  expected = {
    f'u{u}'
    for u in range(12)
    if sum(u * i % 5 >= 3 for i in range(6)) >= 2
    and sum(u * i % 5 >= 3 for i in range(8)) >= 2
  }
  assert set(dataset.ids.users) == expected
  assert dataset.pair.source.user.size == sum(
    u * i % 5 >= 3 for u in range(12) for i in range(6)
  )
  assert '601,928' in '\n'.join(lines)


def own_implicit(tmp_path, **changes):
  options = own(tmp_path, at_least=2, positive=4.0, side='')
  return options | changes


def test_own_ratings_that_are_high_become_positives(tmp_path):
  dataset = sources.dataset('tables_implicit', len, **own_implicit(tmp_path))
  assert liked(dataset) == [
    {(f'u{u}', f'{domain}{(u + i) % 7}') for u in range(8) for i in (3, 4)}
    for domain in 'st'
  ]
  assert dataset.scale == (0, 1) and dataset.pair.side is None


def test_own_events_without_ratings_are_all_positive(tmp_path):
  options = own_implicit(tmp_path, rating='', scale=(2.0, 5.0))
  dataset = sources.dataset('tables_implicit', len, **options)
  assert dataset.pair.target.user.size == 8 * 6
  np.testing.assert_array_equal(dataset.pair.target.value, 1)


@pytest.mark.parametrize('kind', ['tables', 'tables_implicit'])
@pytest.mark.parametrize('kept', ['both', 'source', 'either'])
def test_own_users_of_one_domain_are_kept_on_request(tmp_path, kind, kept):
  options = own_implicit(tmp_path, users=kept)
  if kind == 'tables':
    options = own(tmp_path, users=kept, at_least=2)
  with (tmp_path / 'source.tsv').open('a') as file:
    file.write('new\ti0\t5\nnew\ti1\t4\nnew\ti2\t1\nfew\ti0\t5\n')
  users = sources.dataset(kind, len, **options).ids.users
  assert ('new' in users) == (kept != 'both')
  assert 'few' not in users


def test_own_vectors_come_with_the_events(tmp_path):
  path = tmp_path / 'people.tsv'
  path.write_text('u3\t0.5\t1\nu1\t2\t-1\n')
  options = own_implicit(tmp_path, side=str(path))
  dataset = sources.dataset('tables_implicit', len, **options)
  side = dict(zip(dataset.ids.users.tolist(), dataset.pair.side.tolist()))
  assert side['u3'] == [0.5, 1] and side['u1'] == [2, -1]
  assert side['u2'] == [0, 0]
  assert '2 of 8 users' in dataset.trail[-1][0]


def several(tmp_path, **changes):
  """Two sources and a target; the second has other columns, and users 2-9."""
  options = own_implicit(tmp_path)
  path = tmp_path / 'music.tsv'
  path.write_text(
    ''.join(f'5\ti{(u + i) % 5}\tu{u}\n' for u in range(2, 10) for i in (0, 1))
  )
  options.update(source=f'{options["source"]},{path}', user='0,2,0', rating='2,0,2')
  return options | changes


def test_several_sources_are_one_and_can_be_taken_apart(tmp_path):
  dataset = sources.dataset('tables_implicit', len, **several(tmp_path))
  assert dataset.sources == ('source', 'music')
  assert dataset.name == 'source-music-target'
  of_users = {f'u{u}' for u in range(8)}
  assert set(dataset.ids.users.tolist()) == of_users
  films = {(f'u{u}', f'source:s{(u + i) % 7}') for u in range(8) for i in (3, 4)}
  music = {(f'u{u}', f'music:i{(u + i) % 5}') for u in range(2, 8) for i in (0, 1)}
  assert liked(dataset)[0] == films | music
  apart = views.apart(dataset, dataset.pair)
  assert apart.target is dataset.pair.target
  for part, expected, name in zip(
    apart.source, (films, music), dataset.sources, strict=True
  ):
    items = [i for i in dataset.ids.source if i.startswith(f'{name}:')]
    users = dataset.ids.users[part.user]
    theirs = {(u, items[i]) for u, i in zip(users, part.item.tolist())}
    assert theirs == expected
    assert part.n_items == len(items)
    assert part.n_users == 8


def test_one_source_cannot_be_taken_apart(tmp_path):
  dataset = sources.dataset('tables_implicit', len, **own_implicit(tmp_path))
  with pytest.raises(types.DataError, match='has one source'):
    views.apart(dataset, dataset.pair)


def test_several_sources_need_names_of_their_own(tmp_path):
  options = several(tmp_path, user='0', rating='')
  path, _ = options['source'].split(',')
  again = tmp_path / 'again' / 'source.tsv'
  again.parent.mkdir()
  again.write_text(pathlib.Path(path).read_text())
  options['source'] = f'{path},{again}'
  with pytest.raises(types.DataError, match='distinguished by their file names'):
    sources.dataset('tables_implicit', len, **options)


def test_a_file_whose_name_has_a_comma_is_one_source(tmp_path):
  options = own_implicit(tmp_path)
  path = pathlib.Path(options['source']).rename(tmp_path / 'films,old.tsv')
  options['source'] = str(path)
  dataset = sources.dataset('tables_implicit', len, **options)
  assert dataset.sources == ()
  assert dataset.name == 'films,old-target'


def test_columns_are_named_for_all_files_or_for_each(tmp_path):
  options = several(tmp_path, user='0,1,2,3')
  with pytest.raises(types.DataError, match='holds 4 values for 3 files'):
    sources.dataset('tables_implicit', len, **options)


def test_the_planted_positives_are_a_kind(tmp_path):
  dataset = sources.dataset(say=len, **common.data('synthetic_implicit'))
  assert dataset.pair.target.n_users > 250
  assert dataset.pair.side.shape[0] == dataset.pair.target.n_users


def test_every_data_block_of_the_configs_holds_every_option_of_its_kind():
  for choose, fields in (
    (common.data_block, common.ARGUMENT),
    (common.implicit_block, common.RANKING_ARGUMENT),
  ):
    for word in (*common.DATA, 'quick'):
      block = choose(common.parse_arg(word, **fields))
      assert block.keys() == sources.defaults(block['kind']).keys()


OLD = {  # As a record of version 0.1 holds it.
  'kind': 'tables',
  'source': 'movies.inter',
  'target': 'books.inter',
  'people': 'both',
  'header': True,
  'scale': [1.0, 5.0],
}


@pytest.mark.parametrize(
  ('changes', 'agree'),
  [
    ({}, True),
    (dict(header=True, scale=(1.0, 5.0)), True),
    (dict(scale=(1.0, 10.0)), False),
    (dict(users='source'), False),
    (dict(source='films.inter'), False),
    (dict(kind='tables_implicit'), False),
    (dict(twins='drop'), False),  # Version 0.1 kept them.
  ],
)
def test_a_record_agrees_with_options_that_it_lacks_or_that_are_found_out(
  changes, agree
):
  wanted = dict(kind='tables', source='movies.inter', target='books.inter')
  wanted |= dict(twins='keep') | changes
  assert sources.agrees(OLD, wanted) == agree
  assert not sources.agrees(OLD, dict(kind='movielens'))


def test_commands_write_options_of_messages_as_flags():
  message = "f.csv, line 2: give scale=(1.0, 10.0), or separator=';'; at_least= is not"
  assert program.as_flags(message) == (
    "f.csv, line 2: give --config.data.scale='(1.0, 10.0)', or"
    " --config.data.separator=';'; at_least= is not"
  )


@pytest.mark.slow
def test_the_movielens_of_table_2_is_counted_exactly(monkeypatch):
  monkeypatch.undo()
  options = common.data('movielens_implicit')
  dataset = sources.dataset(**options)
  count = dataset.trail[-1][1]
  assert {name: count[name] for name in movielens.PRINTED} == movielens.PRINTED
  most = {'source': (20, 180, 3), 'target': (2, 869, 105)}
  for domain, (low, high, empty) in most.items():
    part = getattr(dataset.pair, domain)
    users = np.bincount(part.user, minlength=part.n_users)
    items = np.bincount(part.item, minlength=part.n_items)
    assert (users.min(), users.max()) == (low, high)
    assert np.count_nonzero(items == 0) == empty
  np.testing.assert_array_equal(dataset.pair.side.sum(axis=1), 3)
  whole = sources.dataset(**options | dict(first_movie_dropped=False))
  count = whole.trail[-1][1]
  assert (count['target_items'], count['target_ratings']) == (2_263, 151_283)


@pytest.mark.slow
def test_the_movielens_pair_has_the_documented_counts(monkeypatch):
  monkeypatch.undo()  # The cache that is really there.
  dataset = sources.dataset('movielens', print, at_least=5)
  last = dataset.trail[-1][1]
  assert last['users'] == 4_106
  assert (last['source_items'], last['source_ratings']) == (307, 145_651)
  assert (last['target_items'], last['target_ratings']) == (2_364, 501_602)
  read = [step for _, step in dataset.trail if step['users'] == 5_647]
  assert read[0]['target_ratings'] == 565_800
