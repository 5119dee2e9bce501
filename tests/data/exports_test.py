"""Files as other programs export them: each is read right, or refused with its line.

Every file holds the same 240 ratings of 30 users in each domain; the expected values
are those of the plain files.
"""

import bz2
import datetime
import gzip
import io
import json
import lzma
import pathlib
import zipfile

import numpy as np
import polars as pl
import pytest

from xdomain.data import own, types
from xdomain.data.readers import amazon, side_vectors, tables

USERS, EACH = 30, 8
HEADER = 'user,item,rating,time'
BASE = datetime.datetime(2021, 3, 1, tzinfo=datetime.UTC)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
  monkeypatch.setenv('XDOMAIN_DATA', str(tmp_path / 'cache'))
  monkeypatch.chdir(tmp_path)
  return tmp_path


def rows(letter, user='u{}'.format, stars=lambda n: n % 5 + 1):
  step = {'t': 4}.get(letter, 3)  # Else items of both domains have the same users.
  return [
    (user(u), f'{letter}{(u * step + k * 5) % 17}', stars(u + k), f'{100 * u + k}')
    for u in range(USERS)
    for k in range(EACH)
  ]


def lines(letter, separator=',', header=HEADER, **options):
  body = [separator.join(map(str, row)) for row in rows(letter, **options)]
  return '\n'.join([header.replace(',', separator), *body, ''])


def titled(letter, title):
  """A file whose third column is a title that nobody asks for."""
  body = [f'{u},{i},{title},{r}' for u, i, r, _ in rows(letter)]
  return '\n'.join(['user,item,title,rating', *body, ''])


def quoted(letter):
  """Blanks before the quotes, as in `"u1", "s2", "3"`."""
  body = [('user', 'item', 'rating'), *(row[:3] for row in rows(letter))]
  return '\n'.join(', '.join(f'"{field}"' for field in row) for row in body)


def zipped(name, content):
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w') as archive:
    archive.writestr(name, content)
  return file.getvalue()


def parquet(letter, **columns):
  frame = pl.DataFrame(rows(letter), ['user', 'item', 'rating', 'time'], orient='row')
  file = io.BytesIO()
  frame.with_columns(**columns).write_parquet(file)
  return file.getvalue()


def dated(letter, form):
  body = [
    (u, i, r, (BASE + datetime.timedelta(seconds=int(when))).strftime(form))
    for u, i, r, when in rows(letter)
  ]
  return '\n'.join([HEADER, *(','.join(map(str, row)) for row in body)])


def load(source, target=None, name='films.csv', target_name='books.csv', **options):
  """The dataset of two files of these contents, and what was said on the way."""
  contents = {name: source, target_name: lines('t') if target is None else target}
  for each, content in contents.items():
    content = content.encode() if isinstance(content, str) else content
    pathlib.Path(each).write_bytes(content)
  return own.load_pair(name, target_name, say=lambda line: None, **options)


PLAIN = lines('s')
EXPORTS = {
  'plain': ('films.csv', PLAIN),
  'backslashes before quotes': ('films.csv', titled('s', r'"12\" single"')),
  'doubled quotes': ('films.csv', titled('s', '"12"" single, or two"')),
  'line breaks in quotes': ('films.csv', titled('s', '"a\nb"')),
  'a quote inside a bare field': ('films.csv', titled('s', 'a 12" single')),
  'blanks before quotes': ('films.csv', quoted('s')),
  'Excel names the separator': ('films.csv', 'sep=;\n' + lines('s', ';')),
  'capital extension': ('films.CSV', PLAIN),
  'no extension': ('films', PLAIN),
  'ends of Windows': ('films.csv', PLAIN.replace('\n', '\r\n')),
  'ends of old Macs': ('films.csv', PLAIN.replace('\n', '\r')),
  'byte order mark': ('films.csv', '\ufeff' + PLAIN),
  'UTF-16': ('films.csv', PLAIN.encode('utf-16')),
  'blank lines': ('films.csv', PLAIN.replace('\n', '\n\n')),
  'blank line before the end': ('films.csv', HEADER + '\n\n' + PLAIN[len(HEADER) :]),
  'tabs': ('films.tsv', lines('s', '\t')),
  'semicolons': ('films.csv', lines('s', ';')),
  'decimal commas': (
    'films.csv',
    lines('s', ';', stars=lambda n: f'{n % 5 + 1},0'),
  ),
  'double colons': ('films.dat', lines('s', '::')),
  'RecBole': (
    'films.inter',
    lines('s', '\t', 'user:token,item:token,rating:float,time:float'),
  ),
  'gzip': ('films.csv.gz', gzip.compress(PLAIN.encode(), mtime=0)),
  'gzip with zeros after it': (
    'films.csv.gz',
    gzip.compress(PLAIN.encode(), mtime=0) + bytes(9),
  ),
  'bzip2': ('films.csv.bz2', bz2.compress(PLAIN.encode())),
  'xz': ('films.csv.xz', lzma.compress(PLAIN.encode())),
  'zip': ('films.zip', zipped('films.csv', PLAIN)),
  'Parquet': ('films.parquet', parquet('s')),
  'Parquet, .pq': ('films.PQ', parquet('s')),
  'Parquet with categories': (
    'films.parquet',
    parquet('s', user=pl.col('user').cast(pl.Categorical)),
  ),
}


@pytest.mark.parametrize('case', EXPORTS)
def test_every_export_of_the_same_ratings_reads_the_same(case):
  name, content = EXPORTS[case]
  dataset = load(content, name=name)
  expected = rows('s')
  source = dataset.pair.source
  assert (source.user.size, dataset.pair.target.user.size) == (240, 240)
  found = zip(
    dataset.ids.users[source.user],
    dataset.ids.source[source.item],
    source.value.tolist(),
  )
  assert set(found) == {(u, i, float(r)) for u, i, r, _ in expected}


@pytest.mark.parametrize(
  ('content', 'words'),
  [
    (titled('s', '"12" single"'), 'line 2: a quote inside a quoted field'),
    (PLAIN + 'u1,s1\n', 'line 242: 2 fields where line 1 has 4'),
    (PLAIN + 'u1,s1,3,4,5\n', 'line 242: 5 fields where line 1 has 4'),
    (PLAIN + '"u1,s1,3,4\n', 'line 242: a quote that opens in this line is never'),
    (PLAIN + ',s1,3,4\n', 'line 242: the user is missing'),
    (PLAIN + '" ",s1,3,4\n', 'line 242: the user is missing'),
    (PLAIN + 'u1,7.65E+16,3,4\n', 'line 242: the item is .* a spreadsheet has rounded'),
    (PLAIN + 'u1,s1,good,4\n', "line 242: the rating is 'good', which is not a number"),
    (PLAIN + 'u1,s1,nan,4\n', "line 242: the rating is 'nan', which is not a"),
    (PLAIN + 'u1,s1,1e39,4\n', "line 242: the rating is '1e39', which is too large"),
    (PLAIN + 'u1,s\x001,3,4\n', 'line 242: a zero byte, which no text holds'),
    (PLAIN.encode('utf-16-le'), 'line 1: a zero byte.* UTF-16, save it as UTF-8'),
  ],
)
def test_the_first_line_that_does_not_fit_is_named(content, words):
  with pytest.raises(types.DataError, match=f'^films.csv, {words}'):
    load(content)


@pytest.mark.parametrize(
  ('name', 'content', 'words'),
  [
    ('films.xlsx', zipped('[Content_Types].xml', ''), 'an Excel workbook; save'),
    ('films.xls', b'\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1', 'Excel'),
    ('films.zip', zipped('a/', ''), 'zip archive of 0 files'),
    (
      'films.csv',
      'user,item,rating\nu1,\xe9,3\n'.encode('latin-1'),
      'line 2: byte 0xe9',
    ),
    (
      'films.csv.gz',
      gzip.compress(b'user\n\xe9,', mtime=0)[:-12],
      'damaged or cut short',
    ),
    ('films.csv', '', 'films.csv'),
    ('films.parquet', parquet('s')[:-9], 'cannot be read as Parquet'),
    (
      'films.parquet',
      parquet('s', user=pl.struct('user')),
      'the user is of type Struct.* neither text nor a number',
    ),
    (
      'films.parquet',
      parquet('s', user=2.0**53 + 2 * pl.int_range(pl.len()).cast(pl.Float64)),
      'row 2: the user is .* in a column of floats, which cannot hold every id',
    ),
  ],
)
def test_a_file_that_cannot_be_read_right_is_refused_in_one_line(name, content, words):
  with pytest.raises(types.DataError, match=words) as error:
    load(content, name=name)
  assert '\n' not in str(error.value) and name in str(error.value)


def test_a_parser_that_panics_is_one_line(monkeypatch):
  def panic(*args, **kwargs):
    raise pl.exceptions.PanicException('range end index 9 out of range')

  monkeypatch.setattr(pl.LazyFrame, 'collect', panic)
  with pytest.raises(types.DataError, match=r'films.parquet: .*the file is damaged'):
    load(parquet('s'), name='films.parquet')


def test_floats_that_are_whole_numbers_are_ids():
  user = pl.col('user').str.slice(1).cast(pl.Float64)
  dataset = load(parquet('s', user=user), lines('t', user=str), name='films.parquet')
  assert dataset.pair.source.user.size == 240


@pytest.mark.parametrize(
  ('form', 'step'),
  [
    ('%Y-%m-%dT%H:%M:%SZ', 1),
    ('%Y-%m-%d %H:%M:%S', 1),
    ('%Y-%m-%dT%H:%M:%S.%f+00:00', 1),
    ('%Y-%m-%d %H:%M', 60),
    ('%Y-%m-%d', 86400),
  ],
)
def test_dates_are_seconds_since_1970(form, step):
  dataset = load(dated('s', form), time='time')
  start = int(BASE.timestamp())
  expected = sorted(start + int(when) // step * step for *_, when in rows('s'))
  assert sorted(dataset.pair.source.time.tolist()) == expected


@pytest.mark.parametrize(
  ('user', 'shared', 'example'),
  [
    (lambda u: f'u{u}.0' if u % 2 else f'u{u}', 15, "'u1.0' and 'u1'"),
    (lambda u: f'U{u}' if u % 3 else f'u{u}', 10, "'U1' and 'u1'"),
    (lambda u: f'0u{u}' if u % 2 else f'u{u}', 15, "'0u1' and 'u1'"),
    (lambda u: f'\uff55{u}' if u % 2 else f'u{u}', 15, "'\uff551' and 'u1'"),
    (lambda u: f' u{u}\u00a0', 30, None),
    (lambda u: f'\ufeffu{u}\u200b', 30, None),
  ],
)
def test_users_whose_ids_are_written_otherwise_are_counted(user, shared, example):
  step, count = load(lines('s', user=user)).trail[1]
  assert count['shared_users'] == shared
  if example is None:
    assert 'more' not in step
  else:
    assert f'{USERS - shared} more would be' in step and example in step


def test_a_hint_about_the_scale_holds_the_rating_that_was_found():
  zeros = [lines(letter, stars=lambda n: n % 2) for letter in 'st']
  assert load(*zeros).scale == (0, 1)
  with pytest.raises(types.DataError, match=r'rating 0 .* scale=\(0.0, 1.0\)'):
    load(*zeros, scale=(1, 5))
  assert load(*zeros, scale=(0.0, 1.0)).scale == (0, 1)


def test_domains_on_two_scales_have_thresholds_of_their_own():
  wide = lines('s', stars=lambda n: 2 * (n % 5) + 2)
  assert load(wide).scale == (1, 5)
  liked = own.TablesImplicit('films.csv', 'books.csv', at_least=1).read(len)
  by_hand = [np.sum([row[2] >= 4 for row in rows('t')]), 0]
  by_hand[1] = np.sum([2 * row[2] >= 7.75 for row in rows('s')])
  sizes = liked.pair.target.user.size, liked.pair.source.user.size
  assert sizes == tuple(by_hand)


def test_side_vectors_need_no_header_but_numbers(folder):
  (folder / 'side.csv').write_text('u0,0,1\nu1,1,1\nu10,2,1\n')
  assert side_vectors.read(folder / 'side.csv')[1].tolist() == [[0, 1], [1, 1], [2, 1]]
  pl.DataFrame().write_parquet(folder / 'side.parquet')
  with pytest.raises(types.DataError, match='0 rows of 0 columns'):
    side_vectors.read(folder / 'side.parquet')


@pytest.mark.parametrize(
  ('last', 'words'),
  [
    ('[' * 10_000, 'line 3: neither a JSON object nor a Python literal'),
    (dict(reviewerID='\ud800'), 'line 3: reviewerID holds half a character'),
    (
      '{"reviewerID": "u", "asin": "a", "asin": "b"}',
      'line 3: the field asin is given',
    ),
    (dict(unixReviewTime=1e30), 'line 3: the time'),
    (dict(unixReviewTime='soon'), 'line 3: the time'),
  ],
)
def test_reviews_of_amazon_are_refused_by_line(folder, last, words):
  review = dict(reviewerID='u', asin='i', overall=3, unixReviewTime=5)
  if isinstance(last, dict):
    last = json.dumps(review | dict(asin='k') | last)
  path = folder / 'reviews_X.json'
  path.write_text('\n'.join([json.dumps(review), json.dumps(review), last]))
  with pytest.raises(types.DataError, match=words):
    amazon.read(path)


def test_times_of_reviews_may_be_text(folder):
  review = dict(reviewerID='u', asin='i', overall=3, unixReviewTime='3.7')
  (folder / 'reviews_X.json').write_text(json.dumps(review))
  assert amazon.read(folder / 'reviews_X.json').ratings.time.tolist() == [3]


def test_a_column_that_is_named_twice_is_not_guessed():
  with pytest.raises(types.DataError, match="2 columns are called 'rating'"):
    load(lines('s', header='user,item,rating,rating'))


def test_a_column_is_one_part_of_an_interaction():
  says = "line 1: the user and the time are one column, 'user'"
  with pytest.raises(types.DataError, match=says):
    load(PLAIN, time='user')


def test_an_address_is_no_file():
  with pytest.raises(types.DataError, match='an address; download the file'):
    own.load_pair('https://example.org/films.csv', 'books.csv')


def test_a_file_of_one_long_id_is_read_within_memory(folder):
  text = PLAIN + f'u1,{"x" * 100_000},3,4\n'
  table = tables.read(_written(folder, text))
  assert len(table.items) == 18 and table.items.estimated_size() < 200_000


def _written(folder, text):
  (folder / 'films.csv').write_text(text)
  return folder / 'films.csv'
