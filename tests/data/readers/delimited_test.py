"""Any table, written in any dialect, is read as it was written."""

import csv
import io

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from xdomain.data import types
from xdomain.data.readers import columns, tables

hypothesis.settings.register_profile(
  'data', deadline=None, max_examples=60, derandomize=True
)
hypothesis.settings.load_profile('data')

CHARACTERS = st.characters(codec='utf-8', exclude_categories=('Cs',))
FIELD = st.text(CHARACTERS, max_size=8).filter(lambda text: '\x00' not in text)
ID = st.text(st.sampled_from('ab1.é漢"\'\\,;|: '), min_size=1, max_size=6).filter(
  lambda text: text.strip(columns.BLANKS)
)
ROWS = st.lists(
  st.tuples(ID, ID, FIELD, st.sampled_from((1, 2.5, 5))), min_size=1, max_size=12
)


@hypothesis.given(
  rows=ROWS,
  separator=st.sampled_from(',;|'),
  quoting=st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)),
  end=st.sampled_from(('\n', '\r\n')),
)
def test_what_the_csv_module_writes_is_read_back(tmp_path_factory, rows, **dialect):
  stream = io.StringIO()
  end = dialect.pop('end')
  writer = csv.writer(
    stream,
    delimiter=dialect['separator'],
    quoting=dialect['quoting'],
    lineterminator=end,
  )
  writer.writerow(('user', 'item', 'note', 'rating'))
  writer.writerows(rows)
  path = tmp_path_factory.mktemp('t') / 't.csv'
  path.write_bytes(stream.getvalue().encode())
  try:
    table = tables.read(path, separator=dialect['separator'])
  except types.DataError as error:  # A note may look like rows of its own.
    assert 'row of its own' in str(error) or '\r' in stream.getvalue()
    return
  ratings = table.ratings
  found = {
    (table.users[user], table.items[item]): value
    for user, item, value in zip(
      ratings.user.tolist(), ratings.item.tolist(), ratings.value.tolist()
    )
  }
  expected = {
    (user.strip(columns.BLANKS), item.strip(columns.BLANKS)): rating
    for user, item, _, rating in rows
  }
  assert found == expected
  assert ratings.user.size + table.duplicates == len(rows)


@hypothesis.given(
  lines=st.lists(
    st.lists(
      st.sampled_from(('u1', 'i2', '3', '"4"', '"', '')), min_size=1, max_size=5
    ),
    max_size=8,
  )
)
def test_lines_that_are_no_records_are_refused(tmp_path_factory, lines):
  text = '\n'.join(['user,item,rating', *(','.join(line) for line in lines)])
  path = tmp_path_factory.mktemp('t') / 't.csv'
  path.write_text(text)
  try:
    table = tables.read(path)
  except types.DataError:
    return
  # A quoted field may hold commas and line breaks.
  written = list(filter(None, csv.reader(io.StringIO(text), strict=True)))[1:]
  assert table.ratings.user.size + table.duplicates == len(written)
  assert all(len(record) == 3 for record in written)


def test_a_text_of_many_columns_is_read(tmp_path):
  header = ','.join(['user', 'item', 'rating', *(f'c{k}' for k in range(80))])
  row = ','.join(['a', 'b', '3', *(f'"x,{k}"' for k in range(80))])
  path = tmp_path / 't.csv'
  path.write_text(f'{header}\n{row}\n{row.replace("a", "d", 1)}\n')
  np.testing.assert_array_equal(tables.read(path).ratings.value, [3, 3])
  path.write_text(f'{header}\n{row},1\n')
  with pytest.raises(types.DataError, match='line 2: 84 fields where line 1 has 83'):
    tables.read(path)


@pytest.mark.parametrize('end', ['\r', '\r\n', '\r\r\n'])
def test_lines_may_end_as_on_any_system(tmp_path, end):
  path = tmp_path / 't.csv'
  path.write_bytes(end.join(('user,item,rating', 'a,b,3', 'd,"e",4', '')).encode())
  assert list(tables.read(path).users) == ['a', 'd']


def test_a_line_that_declares_the_separator_is_no_row(tmp_path):
  path = tmp_path / 't.csv'
  path.write_text('sep=;\nuser;item;rating\na;b;3\nc;d;x\n')
  with pytest.raises(types.DataError, match="line 4: the rating is 'x'"):
    tables.read(path)
  path.write_text('sep=;\nuser;item;rating\na;b;3\n')
  assert list(tables.read(path).users) == ['a']
