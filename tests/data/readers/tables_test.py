import csv
import gzip

import numpy as np
import polars as pl
import pytest

from xdomain.data import types
from xdomain.data.readers import coding, delimited, parquet, tables

CSV = 'user,item,rating,timestamp\nann,x,5,30\nbob,y,3,20\nann,y,4,10\n'


def write(folder, text, name='t.csv', encoding='utf-8'):
  path = folder / name
  path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
  return path


def triples(table):
  """Events as raw ids and values, in the order of the table."""
  ratings = table.ratings
  return [
    (table.users[user], table.items[item], value)
    for user, item, value in zip(
      ratings.user.tolist(), ratings.item.tolist(), ratings.value.tolist()
    )
  ]


def refuses(path, *words, **options):
  """Reads what cannot be read: one line that begins with the file's path."""
  with pytest.raises(types.DataError) as caught:
    tables.read(path, **options)
  message = str(caught.value)
  assert message.startswith(str(path)) and '\n' not in message
  for word in words:
    assert word in message
  return message


EXPECTED = [('ann', 'x', 5), ('bob', 'y', 3), ('ann', 'y', 4)]


def test_ids_count_up_in_order_of_appearance(tmp_path):
  table = tables.read(write(tmp_path, CSV), time='timestamp')
  np.testing.assert_array_equal(table.ratings.user, [0, 1, 0])
  np.testing.assert_array_equal(table.ratings.item, [0, 1, 1])
  np.testing.assert_array_equal(table.ratings.value, [5, 3, 4])
  np.testing.assert_array_equal(table.ratings.time, [30, 20, 10])
  assert list(table.users) == ['ann', 'bob'] and list(table.items) == ['x', 'y']
  assert (table.ratings.n_users, table.ratings.n_items) == (2, 2)
  assert [column.dtype for column in table.ratings[:4]] == [
    np.int32,
    np.int32,
    np.float32,
    np.int64,
  ]


@pytest.mark.parametrize(
  'name, text, options',
  [
    ('a.csv', CSV, {}),
    ('crlf.csv', CSV.replace('\n', '\r\n'), {}),
    ('bom.csv', '\ufeff' + CSV, {}),
    ('open.csv', CSV.rstrip(), {}),
    ('blank.csv', CSV.replace('bob', '\nbob') + '\n\n', {}),
    ('quoted.csv', CSV.replace('ann', '"ann"'), {}),
    ('a.tsv', CSV.replace(',', '\t'), {}),
    ('a.dat', CSV.replace(',', ';'), {'separator': ';'}),
    ('a.inter', CSV.replace(',', '\t'), {}),
    ('a.csv.gz', gzip.compress(CSV.encode(), mtime=0), {}),
  ],
)
def test_every_text_form_reads_the_same(tmp_path, name, text, options):
  table = tables.read(write(tmp_path, text, name), time='timestamp', **options)
  assert triples(table) == EXPECTED and table.duplicates == 0
  assert table.origin == str(tmp_path / name)


def test_a_recbole_header_matches_without_its_types(tmp_path):
  header = 'user_id:token\titem_id:token\trating:float\ttimestamp:float\r\n'
  text = header + 'ann\tThe "X" (1999)\t4.5\t978300760.0\r\n'
  table = tables.read(
    write(tmp_path, text, 'ml.inter'),
    user='user_id',
    item='item_id',
    time='timestamp',
  )
  assert triples(table) == [('ann', 'The "X" (1999)', 4.5)]
  assert table.ratings.time.tolist() == [978300760]


def test_positions_name_columns_where_there_is_no_header(tmp_path):
  path = write(tmp_path, '5,ann,x\n3,bob,y\n')
  table = tables.read(path, user=1, item=2, rating=0, header=False)
  assert triples(table) == [('ann', 'x', 5), ('bob', 'y', 3)]


def test_events_without_ratings_have_value_one(tmp_path):
  table = tables.read(write(tmp_path, CSV), rating=None)
  assert table.ratings.value.tolist() == [1, 1, 1]
  assert table.ratings.time.size == 0


def test_ids_stay_the_text_they_were(tmp_path):
  path = write(tmp_path, 'user,item,rating\n007,1.50,3\n7,"a,b",3\n')
  assert triples(tables.read(path)) == [('007', '1.50', 3), ('7', 'a,b', 3)]


def test_spaces_around_ids_are_no_part_of_them(tmp_path):
  path = write(tmp_path, 'user,item,rating\n ann ,x,3\nann,\ty z ,4\n')
  table = tables.read(path)
  assert triples(table) == [('ann', 'x', 3), ('ann', 'y z', 4)]
  path = tmp_path / 's.parquet'
  rows = {'user': [' ann ', 'ann'], 'item': ['x', ' y z'], 'rating': [3, 4]}
  pl.DataFrame(rows).write_parquet(path)
  assert triples(tables.read(path)) == triples(table)


@pytest.mark.parametrize('tab', ['\t', r'\t', 'tab'])
def test_a_tab_can_be_typed(tab, tmp_path):
  path = write(tmp_path, 'user\titem\trating\nann\tx\t3\n', 'ratings.txt')
  assert triples(tables.read(path, separator=tab)) == [('ann', 'x', 3)]


def test_a_first_line_that_is_no_header_is_not_lost(tmp_path):
  path = write(tmp_path, 'ann,x,3\nbob,y,4\n')
  columns = dict(user=0, item=1, rating=2)
  refuses(path, 'line 1', "'3'", 'header=False', **columns, header=True)
  refuses(path, 'header=False', user='who')
  assert len(triples(tables.read(path, **columns, header=False))) == 2
  assert len(triples(tables.read(path, **columns))) == 2
  with_header = write(tmp_path, CSV, 'h.csv')
  assert triples(tables.read(with_header, **columns)) == EXPECTED


def test_parquet_reads_as_the_text_does(tmp_path):
  path = tmp_path / 't.parquet'
  frame = pl.read_csv(CSV.encode()).with_columns(code=pl.Series([7, 8, 7]))
  frame.write_parquet(path)
  assert triples(tables.read(path)) == EXPECTED
  by_code = tables.read(path, user='code', time='timestamp')
  assert list(by_code.users) == ['7', '8']
  assert by_code.ratings.time.tolist() == [30, 20, 10]


def test_of_duplicates_the_latest_stays(tmp_path):
  text = 'user,item,rating,timestamp\na,x,1,9\nb,x,2,5\na,x,3,2\na,y,4,1\n'
  table = tables.read(write(tmp_path, text), time='timestamp')
  assert triples(table) == [('a', 'x', 1), ('b', 'x', 2), ('a', 'y', 4)]
  assert table.duplicates == 1


def test_of_duplicates_without_times_the_last_row_stays(tmp_path):
  text = 'user,item,rating,timestamp\na,x,1,9\nb,x,2,5\na,x,3,9\nc,z,1,1\n'
  path = write(tmp_path, text)
  for time in (None, 'timestamp'):  # Both times of (a, x) are 9: a tie.
    table = tables.read(path, time=time)
    assert triples(table) == [('b', 'x', 2), ('a', 'x', 3), ('c', 'z', 1)]
    assert list(table.users) == ['b', 'a', 'c']  # As they appear afterwards.


def by_dictionary(rows):
  """The plain way: `[(user, item, rating)]` that stay, in order."""
  best = {}
  for place, (user, item, _, time) in enumerate(rows):
    old = best.get((user, item))
    if old is None or time >= rows[old][3]:
      best[user, item] = place
  return [rows[place][:3] for place in sorted(best.values())]


def test_duplicates_agree_with_a_dictionary():
  random = np.random.default_rng(0)
  rows = [
    (f'u{u}', f'i{i}', float(r), int(t))
    for u, i, r, t in random.integers(1, 6, (400, 4)) * [3, 5, 1, 1]
  ]
  schema = ['user', 'item', 'rating', 'time']
  table = tables.from_frame(pl.DataFrame(rows, schema, orient='row'), (1, 5), 'here')
  expected = by_dictionary(rows)
  assert triples(table) == expected
  assert table.duplicates == 400 - len(expected)
  assert list(table.users) == list(dict.fromkeys(u for u, _, _ in expected))
  assert list(table.items) == list(dict.fromkeys(i for _, i, _ in expected))


def test_a_collision_of_hashes_does_not_merge_ids(monkeypatch):
  honest = pl.Series.hash
  monkeypatch.setattr(
    pl.Series,
    'hash',
    lambda self, seed=0: honest(self, seed) % (2 if seed == 0 else 2**60),
  )
  frame = pl.DataFrame({'user': ['a', 'b', 'a', 'c'], 'item': ['x'] * 2 + ['y'] * 2})
  table = tables.from_frame(frame, None, 'here')
  assert list(table.users) == ['a', 'b', 'c']
  assert table.ratings.user.tolist() == [0, 1, 0, 2]


def test_a_file_read_in_blocks_is_the_file_read_at_once(tmp_path, monkeypatch):
  random = np.random.default_rng(0)
  lines = [f'u{u},i{i},{1 + i % 5}' for u, i in random.integers(0, 40, (500, 2))]
  lines[7:7] = ['', '']
  csv, packed = tmp_path / 'a.csv', tmp_path / 'a.parquet'
  csv.write_text('\n'.join(['user,item,rating', *lines, '', '']))
  pl.read_csv(csv).drop_nulls().write_parquet(packed)
  whole = [tables.read(path) for path in (csv, packed)]
  monkeypatch.setattr(delimited, 'BLOCK', 64)
  monkeypatch.setattr(parquet, 'BLOCK', 7)
  monkeypatch.setattr(coding, 'WAIT', 5)
  for path, expected in zip((csv, packed), whole):
    found = tables.read(path)
    np.testing.assert_equal(found.ratings, expected.ratings)
    assert list(found.users) == list(expected.users)
    assert list(found.items) == list(expected.items)
    assert found.duplicates == expected.duplicates > 0
  csv.write_text('\n'.join(['user,item,rating', *lines, 'u,i,five']))
  with pytest.raises(types.DataError, match="line 504: the rating is 'five'"):
    tables.read(csv)
  csv.write_text('\n'.join(['user,item,rating', *lines, 'u,i']))
  with pytest.raises(types.DataError, match='line 504: 2 fields'):
    tables.read(csv)


@pytest.mark.parametrize(
  'row, words',
  [
    ('bob,y,five', ["rating is 'five'", 'not a number']),
    ('bob,y,5 5', ["'5 5'", 'not a number']),
    ('bob,y,nan', ["'nan'", 'not a number']),
    ('bob,y,inf', ["'inf'", 'not a number']),
    ('bob,y,6', ['rating 6', 'scale 1 to 5']),
    ('bob,y,0.5', ['rating 0.5', 'scale 1 to 5']),
    ('bob,y,', ['the rating is missing']),
    (',y,5', ['the user is missing']),
    ('bob,  ,5', ['the item is missing']),
    ('bob,"",5', ['the item is missing']),
    (',,', ['the user is missing']),
    ('bob,y', ['2 fields', 'line 1 has 3']),
    ('bob,y,5,8', ['4 fields', 'line 1 has 3']),
    ('"bob"b,y,5', ['a quote inside a quoted field']),
    ('"bob\nb",y,5', ['the user continues on the next line']),
    ('bob,"y,5\nbob,z",5', ['extends to line 6', 'not closed']),
    ('bob,"y,\nbob,z",5', ['the item continues on the next line']),
    ('bob,y,"5', ['never closed']),
    ('bob,1E+17,5', ["'1E+17'", 'spreadsheet']),
  ],
)
def test_a_bad_line_is_named(tmp_path, row, words):
  # The header takes two lines, and a blank one precedes.
  text = f'user,item,"rat\ning"\nann,x,5\n\n{row}\nbob,z,nonsense\n'
  refuses(write(tmp_path, text), ', line 5:', *words, rating=2, scale=(1, 5))


def test_a_bad_time_is_named(tmp_path):
  for time in ('2014-02-30', 'March', 'NaN', '', '1e30', str(2**63)):
    text = f'user,item,rating,timestamp\na,x,5,1\na,y,5,{time}\n'
    path = write(tmp_path, text)
    refuses(path, ', line 3:', 'the time is', time='timestamp')
    assert len(triples(tables.read(path))) == 2


@pytest.mark.parametrize(
  ('time', 'seconds'),
  [
    ('2021-03-04', 1614816000),
    ('2021-03-04 05:06', 1614834360),
    ('2021-03-04T05:06:07', 1614834367),
    ('2021-03-04T05:06:07.89Z', 1614834367),
    ('2021-03-04T05:06:07+02:00', 1614827167),
    ('2021-03-04 05:06:07-0130', 1614839767),
    ('1614834367', 1614834367),
    ('1614834367.0', 1614834367),
    (str(2**63 - 1), 2**63 - 1),
  ],
)
def test_dates_become_seconds_since_1970(tmp_path, time, seconds):
  text = f'user,item,rating,time\na,x,3,{time}\nb,x,3,12\n'
  table = tables.read(write(tmp_path, text), time='time')
  assert table.ratings.time.tolist() == [seconds, 12]


def test_a_bad_line_is_named_without_a_header_and_in_gzip(tmp_path):
  text = gzip.compress(b'a\tx\t5\na\ty\t9\n', mtime=0)
  path = write(tmp_path, text, 't.tsv.gz')
  options = dict(user=0, item=1, rating=2, header=False)
  refuses(path, ', line 2:', 'rating 9', scale=(1, 5), **options)
  assert tables.read(path, scale=(0, 10), **options).ratings.n_items == 2


def test_a_bad_line_deep_in_a_large_file_is_named(tmp_path):
  rows = [f'u{n % 977},i{n % 1009},{n % 5 + 1}' for n in range(60_000)]
  rows[51_234] = 'u1,i1,oops'
  path = write(tmp_path, 'user,item,rating\n' + '\n'.join(rows))
  refuses(path, ', line 51236:', "'oops'")


def test_text_that_is_not_utf8_is_refused_by_line(tmp_path):
  path = write(tmp_path, CSV.replace('bob', 'zoé'), encoding='latin-1')
  refuses(path, ', line 3:', '0xe9', 'UTF-8')


def test_files_with_nothing_in_them_are_refused(tmp_path):
  refuses(tmp_path / 'none.csv', 'no such file')
  refuses(write(tmp_path, ''), 'empty')
  refuses(write(tmp_path, '\n\n'), 'line 1', 'blank')
  refuses(write(tmp_path, 'user,item,rating\n'), 'no ratings')
  refuses(write(tmp_path, gzip.compress(b'', mtime=0), 't.csv.gz'), 'line 1', 'blank')


def test_gzip_that_is_cut_short_is_refused(tmp_path):
  noise = ''.join(f'u{n * n},i{n},3\n' for n in range(20_000))
  whole = gzip.compress(('user,item,rating\n' + noise).encode())
  refuses(write(tmp_path, whole[: len(whole) // 2], 't.csv.gz'), 'cut short')


def test_a_missing_column_names_the_others_and_the_nearest(tmp_path):
  path = write(tmp_path, CSV.replace('user', 'user_id'))
  refuses(path, 'line 1', 'user_id, item, rating', "did you mean 'user_id'?")
  path = write(tmp_path, CSV)
  assert 'mean' not in refuses(path, "no column 'qqq'", user='qqq')
  refuses(path, "no column 'qqq'", 'leave its name empty', rating='qqq')
  refuses(path, 'no column 4', '0 to 3', user=4)
  refuses(path, 'position', user='ann', header=False)


@pytest.mark.parametrize('separator', [',', ';', '\t', '|', '::'])
@pytest.mark.parametrize('name', ['t.txt', 't.csv', 't.CSV'])
def test_separators_are_found_out(tmp_path, separator, name):
  text = CSV.replace(',', separator)
  assert triples(tables.read(write(tmp_path, text, name))) == EXPECTED
  headless = write(tmp_path, text.split('\n', 1)[1], name)
  assert triples(tables.read(headless, user=0, item=1, rating=2)) == EXPECTED


@pytest.mark.parametrize('separator', ['~', '¦', '::', '#|#', 'semicolon'])
def test_any_separator_can_be_given(tmp_path, separator):
  mark = ';' if separator == 'semicolon' else separator
  path = write(tmp_path, CSV.replace(',', mark))
  assert triples(tables.read(path, separator=separator)) == EXPECTED


def test_a_separator_that_is_not_there_is_not_proposed_again(tmp_path):
  path = write(tmp_path, CSV)
  message = refuses(
    path, "give separator=',' or, where files differ, none", separator=';'
  )
  assert "separator=';'" not in message
  refuses(write(tmp_path, 'abc\ndef\n', 't.txt'), 'cannot be guessed')


def test_stray_quotes_are_refused_by_line(tmp_path):
  text = 'user,item,title,rating\na,x,plain,5\nb,y,"12" single",4\n'
  refuses(write(tmp_path, text), 'line 3', 'quote')


def test_quotes_of_all_kinds_lose_no_row(tmp_path):
  titles = {
    'backslash': r'"12\" single, old"',
    'doubled': '"12"" single, old"',
    'blank before': ' "single, old"',
    'bare': '12" single',
    'two lines': '"a long\ntext, and more"',
  }
  for name, title in titles.items():
    rows = [f'u{n},i{n},{title if n % 2 else "plain"},{n % 5 + 1}' for n in range(50)]
    path = write(tmp_path, 'user,item,title,rating\n' + '\n'.join(rows))
    expected = [(f'u{n}', f'i{n}', n % 5 + 1) for n in range(50)]
    assert triples(tables.read(path)) == expected, name


def test_what_is_read_is_what_the_csv_module_reads(tmp_path):
  random = np.random.default_rng(0)
  items = ['x', ' y', '"c"', '"d,e"', '"f""g"', '"h\ni"', 'p"q', '"']
  between = ['', '', '', '\n', '\r\n', '"\n']
  accepted = 0
  for _ in range(400):
    text = 'user,item,rating\n'
    for user, item in enumerate(random.choice(items, 4)):
      text += f'{user},{item},{user + 1}\n{random.choice(between)}'
    path = write(tmp_path, text)
    try:
      found = triples(tables.read(path))
    except types.DataError:
      continue
    with path.open(newline='') as file:
      rows = [row for row in csv.reader(file) if row][1:]
    assert found == [
      (user.strip(), item.strip(), float(rating)) for user, item, rating in rows
    ]
    accepted += 1
  assert accepted > 20


def test_bad_parquet_is_refused(tmp_path):
  refuses(write(tmp_path, CSV, 't.parquet'), 'Parquet')
  path = tmp_path / 'u.parquet'
  data = {'user': ['a', 'b'], 'item': ['x', None], 'rating': [5, 3]}
  data['title'] = ['a', 'b']
  pl.DataFrame(data).write_parquet(path)
  refuses(path, 'row 2:', 'the item is missing')
  refuses(path, "'raing'", "did you mean 'rating'?", rating='raing')
  refuses(path, "row 1: the rating is 'a', which is not a", rating='title')
  data = {'user': ['a', 'b'], 'item': ['x', 'y'], 'rating': ['4', '5 ']}
  pl.DataFrame(data).write_parquet(path)
  assert triples(tables.read(path)) == [('a', 'x', 4), ('b', 'y', 5)]
  pl.DataFrame(data | {'item': ['x', 'y'], 'rating': [5, 30]}).write_parquet(path)
  refuses(path, 'row 2:', 'rating 30', scale=(1, 5))
