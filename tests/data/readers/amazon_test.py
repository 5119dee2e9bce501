import gzip
import json
import warnings

import pytest

from xdomain.data import types
from xdomain.data.readers import amazon, download

REVIEWS = [
  dict(reviewerID='ann', asin='x', overall=5.0, unixReviewTime=30),
  dict(reviewerID='bob', asin='y', overall=3.0, unixReviewTime=20),
  dict(reviewerID='ann', asin='x', overall=1.0, unixReviewTime=10),
]
for number, one in enumerate(REVIEWS):
  one['reviewText'] = f'it\'s café {number} \\/ "\n'
  one['helpful'] = [0, number]


def json_lines(reviews=REVIEWS):
  return ''.join(json.dumps(review) + '\n' for review in reviews)


def python_lines(reviews=REVIEWS):
  return ''.join(f'{review!r}\n' for review in reviews)


def write(folder, text, name='reviews_Toys_and_Games_5.json'):
  path = folder / name
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return path


@pytest.mark.parametrize(
  'name, text',
  [
    ('ratings_X.csv', 'ann,x,5.0,30\nbob,y,3.0,20\nann,x,1.0,10\n'),
    ('reviews_X.json', json_lines()),
    ('reviews_X_5.json', json_lines().replace('\n', '\r\n\n')),
    ('reviews_X.json.gz', gzip.compress(json_lines().encode(), mtime=0)),
    ('reviews_Y.json', python_lines()),
    ('reviews_Z.json', json_lines(REVIEWS[:1]) + python_lines(REVIEWS[1:])),
    ('reviews_Y.json.gz', gzip.compress(python_lines().encode(), mtime=0)),
  ],
)
@pytest.mark.parametrize('batch', [amazon.BATCH, 1])
def test_every_form_reads_the_same(tmp_path, monkeypatch, name, text, batch):
  monkeypatch.setattr(amazon, 'BATCH', batch)
  table = amazon.read(write(tmp_path, text, name))
  assert list(table.users) == ['ann', 'bob']
  assert list(table.items) == ['x', 'y']
  assert table.ratings.value.tolist() == [5, 3]
  assert table.ratings.time.tolist() == [30, 20]
  assert table.duplicates == 1


@pytest.mark.parametrize('form', [json_lines, python_lines])
def test_texts_come_in_the_order_of_the_file(tmp_path, form):
  path = write(tmp_path, form())
  expected = [(r['reviewerID'], r['asin'], r['reviewText']) for r in REVIEWS]
  assert list(amazon.texts(path)) == expected


def test_invalid_escapes_in_python_lines_do_not_warn(tmp_path):
  line = python_lines(REVIEWS[:1]).replace('café', r'\d')
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    assert amazon.read(write(tmp_path, line)).ratings.value.tolist() == [5]


@pytest.mark.parametrize(
  'line, words',
  [
    ('{"reviewerID": "ann", "asin": "x", "over', ['neither', 'cut short']),
    ('<html>', ['neither', "'<html>'"]),
    ('[1, 2]', ['neither']),
    (json_lines([REVIEWS[0] | dict(overall=9)]), ['rating 9', '1 to 5']),
    (json_lines([REVIEWS[0] | dict(overall='good')]), ["'good'"]),
    (json_lines([REVIEWS[0] | dict(asin=' ')]), ['the item is missing']),
    (json_lines([REVIEWS[0] | dict(reviewerID=None)]), ['the user is missing']),
    (json_lines([{}]), ['the user is missing', 'reviewerID']),
    (python_lines([REVIEWS[0] | dict(overall=0)]), ['rating 0']),
  ],
)
def test_a_bad_review_is_named_by_line(tmp_path, line, words):
  path = write(tmp_path, json_lines() + '\n' + line)
  with pytest.raises(types.DataError) as caught:
    amazon.read(path)
  assert str(caught.value).startswith(f'{path}, line 5: ')
  for word in words:
    assert word in str(caught.value)


def test_a_bad_rating_line_is_named(tmp_path):
  path = write(tmp_path, 'ann,x,5.0,30\nbob,y,3.0\n', 'ratings_X.csv')
  with pytest.raises(types.DataError, match=r'ratings_X\.csv, line 2: 3 f'):
    amazon.read(path)


def test_missing_and_empty_reviews_are_refused(tmp_path):
  with pytest.raises(types.DataError, match='no such file'):
    amazon.read(tmp_path / 'reviews_X.json')
  with pytest.raises(types.DataError, match='empty'):
    amazon.read(write(tmp_path, ''))
  with pytest.raises(types.DataError, match='no ratings'):
    amazon.read(write(tmp_path, '\n\n'))
  with pytest.raises(types.DataError, match=r'line 1.*no asin'):
    list(amazon.texts(write(tmp_path, json_lines([dict(reviewerID='a')]))))


def test_ratings_are_preferred_to_reviews(tmp_path):
  assert amazon.find('Automotive', tmp_path) is None
  for form in reversed(amazon.FORMS):
    path = write(tmp_path, '', form.format('Automotive'))
    assert amazon.find('Automotive', tmp_path) == path


def test_printed_sparsities_follow_from_the_counts_but_for_one():
  both = amazon.PAIRS | {'Table 2': amazon.MOVIES_BOOKS}
  wrong = [
    (number, printed.category)
    for number, pair in both.items()
    for printed in (pair.source, pair.target)
    if abs(100 * (1 - printed.ratings / printed.items / pair.users) - printed.sparsity)
    > 0.006
  ]
  assert wrong == [(2, 'Sports and Outdoors')]
  names = [p.category for pair in amazon.PAIRS.values() for p in pair[:2]]
  assert [*names, 'Books'] == list(amazon.CATEGORIES)


def publish(folder, monkeypatch):
  """Serves the files of pair 4 from a folder; the first mirror is dead."""
  folder.mkdir()
  for name in ('Toys_and_Games', 'Automotive'):
    write(folder, 'ann,x,5.0,30\n', f'ratings_{name}.csv')
  mirrors = ('http://127.0.0.1:9/', folder.as_uri() + '/')
  monkeypatch.setattr(amazon, 'MIRRORS', mirrors)


def test_files_are_fetched_once_and_checked_ever_after(tmp_path, monkeypatch):
  publish(tmp_path / 'web', monkeypatch)
  said = []
  paths = amazon.obtain(4, tmp_path / 'data', said.append)
  assert [path.name for path in paths] == [
    'ratings_Toys_and_Games.csv',
    'ratings_Automotive.csv',
  ]
  assert any('127.0.0.1:9' in line for line in said)
  said.clear()
  assert amazon.obtain(4, tmp_path / 'data', said.append) == paths
  assert len(said) == 2
  assert amazon.read(paths[0]).ratings.n_users == 1
  paths[0].write_text('ann,x,5.0,30\nbob,x,5.0,30\n')
  with pytest.raises(types.DataError, match='altered or cut short'):
    amazon.read(paths[0])


def test_what_cannot_be_fetched_is_listed_with_what_to_do(tmp_path, monkeypatch):
  monkeypatch.setenv('XDOMAIN_DATA', str(tmp_path))
  monkeypatch.setattr(amazon, 'MIRRORS', ('http://127.0.0.1:9/',))
  write_to = tmp_path / 'amazon'
  write_to.mkdir()
  write(write_to, json_lines(), 'reviews_Automotive_5.json')
  said = []
  with pytest.raises(types.DataError) as caught:
    amazon.obtain(4, say=said.append)
  message = str(caught.value)
  for words in (
    'ratings_Toys_and_Games.csv',
    amazon.PAGE,
    str(write_to),
    'run the same command again',
  ):
    assert words in message
  assert 'ratings_Automotive' not in message
  assert [path.name for path in write_to.iterdir()] == ['reviews_Automotive_5.json']
  with pytest.raises(
    types.DataError, match=r'files of A -> B could(.|\n)*ratings_Books\.csv'
  ):
    amazon.obtain_both('A -> B', amazon.MOVIES_BOOKS, say=said.append)
  with pytest.raises(types.DataError, match='1 to 4'):
    amazon.obtain(7, say=said.append)
  assert download.cache_dir() == tmp_path
