import numpy as np
import pytest

from xdomain.data import amazon, kept, load, tables


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
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


def test_an_amazon_pair_is_filtered_and_told_beside_table_1(cache):
  write_amazon(cache / 'amazon', 3)
  say, lines = said()
  dataset = load.dataset('amazon', say, pair=3, at_least=5)
  text = '\n'.join(lines)
  assert '2,034' in text and '34,217' in text
  assert dataset.name == 'amazon_3'
  # Per domain 6 of the 12 users are left, in total all: nearer to Table 1.
  assert dataset.pair.target.n_users == 12
  assert 'together' in dataset.trail[-1][0] or 'total' in dataset.trail[-1][0]


def test_a_parsed_pair_is_cached_until_its_file_changes(cache, monkeypatch):
  path = write_amazon(cache / 'amazon', 3)
  say, _ = said()
  first = load.dataset('amazon', say, pair=3, at_least=5)

  def unexpected(path):
    raise AssertionError(f'{path} was read again')

  with monkeypatch.context() as patch:
    patch.setattr(amazon, 'read', unexpected)
    again = load.dataset('amazon', say, pair=3, at_least=5)
    assert kept.digest(again) == kept.digest(first)
    assert again.trail == first.trail
  path.write_text(path.read_text() + 'u1,new,5.0,2000\n')
  other = load.dataset('amazon', say, pair=3, at_least=5)
  assert kept.digest(other) != kept.digest(first)


def own(tmp_path, **changes):
  rows = [
    f'u{u}\ti{(u + i) % 7}\t{1 + i % 5}' for u in range(8) for i in range(6)
  ]
  for name in ('source', 'target'):
    (tmp_path / f'{name}.tsv').write_text('\n'.join(rows) + '\n')
  options = dict(
    source=str(tmp_path / 'source.tsv'), target=str(tmp_path / 'target.tsv'),
    user='0', item='1', rating='2', time='', header=False, separator='',
    scale=(1.0, 5.0), at_least=5,
  )  # fmt: skip
  return options | changes


def test_own_tables_without_a_header_are_read_by_places(tmp_path):
  say, _ = said()
  dataset = load.dataset('tables', say, **own(tmp_path))
  assert dataset.pair.target.n_users == 8
  assert set(dataset.ids.users) == {f'u{u}' for u in range(8)}


def test_own_tables_without_ratings_count_every_row_as_one(tmp_path):
  say, _ = said()
  dataset = load.dataset('tables', say, **own(tmp_path, rating=''))
  np.testing.assert_array_equal(dataset.pair.target.value, 1)


@pytest.mark.parametrize(
  ('kind', 'options', 'message'),
  [
    ('movielen', {}, "'movielen'; did you mean 'movielens'"),
    ('movielens', {'at_lest': 5}, "at_lest is no option of 'movielens'"),
    ('synthetic', {'user': 5}, "user is no option of 'synthetic'"),
    ('amazon', {'pair': 1}, "'amazon' data needs config.data.at_least"),
  ],
)
def test_an_unknown_name_is_answered_with_a_near_one(kind, options, message):
  with pytest.raises(tables.DataError) as error:
    load.dataset(kind, print, **options)
  assert message in str(error.value)


def test_a_file_that_is_not_named_is_asked_for(tmp_path):
  with pytest.raises(tables.DataError, match=r'config\.data\.target is empty'):
    load.dataset('tables', print, **own(tmp_path, target=''))


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (dict(user=''), 'config.data.user is empty'),
    (dict(scale=(5.0, 1.0)), 'config.data.scale is (5.0, 1.0)'),
    (dict(scale=(5.0,)), 'config.data.scale is (5.0,)'),
    (dict(scale=('a', 'b')), "config.data.scale is ('a', 'b')"),
  ],
)
def test_a_wrong_option_is_named(tmp_path, changes, message):
  with pytest.raises(tables.DataError) as error:
    load.dataset('tables', print, **own(tmp_path, **changes))
  assert message in str(error.value)


def test_one_file_is_not_two_domains(tmp_path):
  options = own(tmp_path)
  with pytest.raises(tables.DataError, match='is the source and the target'):
    load.dataset('tables', print, **options | {'target': options['source']})


def test_columns_may_be_named_differently_in_the_two_files(tmp_path):
  options = own(tmp_path)
  rows = [
    line.split('\t')
    for line in (tmp_path / 'target.tsv').read_text().splitlines()
  ]
  (tmp_path / 'target.tsv').write_text(
    ''.join(f'{r}\t{i}\t{u}\n' for u, i, r in rows)
  )
  options |= dict(user='0,2', item='1,1', rating='2, 0')
  dataset = load.dataset('tables', print, **options)
  assert dataset.pair.target.n_users == 8


def test_a_cache_that_cannot_be_written_does_not_stop_a_run(cache):
  write_amazon(cache / 'amazon', 3)
  (cache / 'pairs').write_text('a file where a folder should be')
  say, lines = said()
  load.dataset('amazon', say, pair=3, at_least=5)
  assert any('not kept' in line for line in lines)


def test_a_filter_that_leaves_too_little_says_how_much(tmp_path):
  with pytest.raises(tables.DataError, match='100'):
    load.dataset('tables', print, **own(tmp_path, at_least=100))


@pytest.mark.slow
def test_the_movielens_pair_has_the_documented_counts(monkeypatch):
  monkeypatch.delenv('XDOMAIN_DATA')
  dataset = load.dataset('movielens', print, at_least=5)
  last = dataset.trail[-1][1]
  assert last['users'] == 4_106
  assert (last['source_items'], last['source_ratings']) == (307, 145_651)
  assert (last['target_items'], last['target_ratings']) == (2_364, 501_602)
  read = [step for _, step in dataset.trail if step['users'] == 5_647]
  assert read[0]['target_ratings'] == 565_800
