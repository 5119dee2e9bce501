import gzip

import numpy as np
import polars as pl
import pytest

from xdomain.data import types
from xdomain.data.readers import side_vectors

CSV = 'user,age,rich\n007,31,0.5\nbob,-2,1e-3\n'


def write(folder, text, name='people.csv'):
  path = folder / name
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return path


@pytest.mark.parametrize(
  ('name', 'text', 'options'),
  [
    ('a.csv', CSV, {}),
    ('a.csv', CSV.replace('007', '"007"'), {}),
    ('a.csv', CSV.replace('\n', '\r\n\n'), {}),
    ('a.tsv', CSV.replace(',', '\t'), {}),
    ('a.txt', CSV.replace(',', ';'), dict(separator=';')),
    ('a.txt', CSV.replace(',', '\t'), dict(separator='tab')),
    ('a.csv', CSV.replace('007', ' 007 '), {}),
    ('a.csv', CSV.split('\n', 1)[1], dict(header=False)),
    ('a.csv.gz', gzip.compress(CSV.encode(), mtime=0), {}),
  ],
)
def test_every_text_form_reads_the_same(tmp_path, name, text, options):
  users, vectors = side_vectors.read(write(tmp_path, text, name), **options)
  assert users == ['007', 'bob']
  assert vectors.dtype == np.float32
  np.testing.assert_allclose(vectors, [[31, 0.5], [-2, 1e-3]], rtol=1e-6)


def test_parquet_reads_as_it_is_typed(tmp_path):
  path = tmp_path / 'people.parquet'
  frame = pl.DataFrame({'id': [7, 8], 'old': [True, False], 'rich': [0.5, 2]})
  frame.write_parquet(path)
  users, vectors = side_vectors.read(path)
  assert users == ['7', '8']
  assert vectors.tolist() == [[1, 0.5], [0, 2]]


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    (CSV + 'ann,old,1\n', "line 4: the column 'age' is 'old', which is not a number"),
    (CSV + 'ann,nan,1\n', "line 4: the column 'age' is 'nan', which is not a number"),
    (CSV + 'ann,3,\n', "line 4: the column 'rich' is missing"),
    (CSV + 'ann,3\n', 'line 4: 2 fields where line 1 has 3'),
    (CSV + ' ,3,1\n', 'line 4: the user is missing'),
    (CSV + ',3,1\n', 'line 4: the user is missing'),
    (CSV + 'bob,3,1\n', "line 4: the user 'bob' has a row already"),
    (CSV + 'ann,3,1,4\n', 'line 4: 4 fields where line 1 has 3'),
    ('user\nann\n', '1 rows of 1 columns; expected a column of user ids'),
    ('user,age\n', '0 rows of 2 columns'),
    ('', 'the file is empty'),
    (b'user,age\n\xe9,3\n', 'line 2: byte 0xe9 is not UTF-8 text'),
  ],
)
def test_a_bad_table_is_named_with_the_place(tmp_path, text, message):
  path = write(tmp_path, text)
  with pytest.raises(types.DataError) as error:
    side_vectors.read(path)
  assert str(error.value).startswith(str(path))
  assert message in str(error.value)


def test_files_that_cannot_be_read_say_what_would_do(tmp_path):
  with pytest.raises(types.DataError, match='no such file'):
    side_vectors.read(tmp_path / 'none.csv')
  with pytest.raises(types.DataError, match='cannot be guessed'):
    side_vectors.read(write(tmp_path, 'u1\nu2\n', 'people.txt'))
  with pytest.raises(types.DataError, match='cannot be read as Parquet'):
    side_vectors.read(write(tmp_path, CSV, 'people.parquet'))
  headless = write(tmp_path, CSV.split('\n', 1)[1])
  with pytest.raises(types.DataError, match=r'line 1: .*header=False'):
    side_vectors.read(headless, header=True)
  assert side_vectors.read(headless)[0] == ['007', 'bob']


def test_vectors_that_are_no_finite_numbers_are_refused(tmp_path):
  path = tmp_path / 'people.parquet'
  for column, words in (
    ([[1.0], [2.0]], "'v' is of type List"),
    ([{'a': 1}, {'a': 2}], "'v' is of type Struct"),
    ([1.0, float('inf')], "row 2: the column 'v' is 'inf'"),
    ([1.0, 1e300], "row 2: the column 'v' is .* too large"),
    ([1.0, None], "row 2: the column 'v' is missing"),
  ):
    pl.DataFrame({'id': ['a', 'b'], 'v': column}).write_parquet(path)
    with pytest.raises(types.DataError, match=words):
      side_vectors.read(path)
  pl.DataFrame().write_parquet(path)
  with pytest.raises(types.DataError, match='0 rows of 0 columns'):
    side_vectors.read(path)
