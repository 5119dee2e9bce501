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
    (CSV + 'ann,old,1\n', "row 3, column 'age': 'old' is not a number"),
    (CSV + 'ann,nan,1\n', "row 3, column 'age': 'nan' is not a number"),
    (CSV + 'ann,3,\n', "row 3, column 'rich': None is not a number"),
    (CSV + 'ann,3\n', "row 3, column 'rich': None is not a number"),
    (CSV + ' ,3,1\n', "row 3: the user, in column 'user', is missing"),
    (CSV + ',3,1\n', "row 3: the user, in column 'user', is missing"),
    (CSV + 'bob,3,1\n', "row 3: the user 'bob' has a row already"),
    (CSV + 'ann,3,1,4\n', 'cannot be read as a table'),
    ('user\nann\n', '1 rows of 1 columns; it takes a column of user ids'),
    ('user,age\n', '0 rows of 2 columns'),
    ('', 'cannot be read as a table'),
    (b'user,age\n\xe9,3\n', 'cannot be read as a table'),
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
  with pytest.raises(types.DataError, match='cannot tell how its fields'):
    side_vectors.read(write(tmp_path, CSV, 'people.txt'))
  with pytest.raises(types.DataError, match='cannot be read as a table'):
    side_vectors.read(write(tmp_path, CSV, 'people.parquet'))
