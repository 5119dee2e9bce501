"""A split that was written is read again, and others read it too."""

import itertools

import numpy as np
import polars as pl
import pytest

from xdomain.data import audit, given, splits, synthetic
from xdomain.data.types import DataError

IMPLICIT = synthetic.implicit(0, users=80)


def cells(part, ids, items):
  names = zip(ids.users[part.user].tolist(), items[part.item].tolist())
  return sorted(zip(names, part.value.tolist()))


def assert_same(made, read):
  """Both splits hold the same interactions and negatives, in raw ids."""
  for name in ('source', 'target'):
    ours, theirs = (getattr(split.dataset.ids, name) for split in (made, read))
    for fold in ('train', 'valid', 'test'):
      one, two = (getattr(getattr(split, fold), name) for split in (made, read))
      if one is not None:
        assert cells(one, made.dataset.ids, ours) == cells(
          two, read.dataset.ids, theirs
        )
  for fold in ('valid', 'test'):
    assert negatives(made, fold) == negatives(read, fold)


def negatives(split, fold):
  held, ids = getattr(split, fold).target, split.dataset.ids
  if held.negatives is None:
    return None
  rows = ([i for i in row if i >= 0] for row in held.negatives.tolist())
  return {
    (str(ids.users[u]), str(ids.target[i])): sorted(map(str, ids.target[row]))
    for u, i, row in zip(held.user, held.item, rows)
  }


@pytest.mark.parametrize('split_of', [splits.leave_one_out, splits.partial])
def test_a_split_that_was_written_is_read_again(split_of, tmp_path):
  made = split_of(IMPLICIT, 3, negatives=7)
  given.write(made, IMPLICIT, tmp_path)
  read = given.given(given.load_given(tmp_path), 3)
  assert_same(made, read)
  assert (read.shown is None) == (made.shown is None)
  if made.shown is not None:
    one, two = (
      cells(s.shown.target, s.dataset.ids, s.dataset.ids.target) for s in (made, read)
    )
    assert one == two
  assert not audit.audit(read.dataset, read).faults


def test_ratings_are_read_again_with_their_times(tmp_path):
  rated = synthetic.pair(0)
  made = splits.by_ratio(rated, 1)
  given.write(made, rated, tmp_path)
  read = given.given_ratings(given.load_given(tmp_path))
  assert_same(made, read)
  assert read.dataset.scale == (1, 5)
  assert sorted(read.train.target.time) == sorted(made.train.target.time)


def test_without_a_file_negatives_are_drawn(tmp_path):
  made = splits.leave_one_out(IMPLICIT, negatives=7)
  given.write(made, IMPLICIT, tmp_path)
  (tmp_path / 'negatives.csv').unlink()
  read = given.given(given.load_given(tmp_path), negatives=5)
  assert read.test.target.negatives.shape[1] == 5
  again = given.given(given.load_given(tmp_path), negatives=5)
  np.testing.assert_array_equal(read.test.target.negatives, again.test.target.negatives)


def test_a_published_leak_stays_to_be_found(tmp_path):
  made = splits.leave_one_out(IMPLICIT, negatives=7)
  given.write(made, IMPLICIT, tmp_path)
  train, test = (tmp_path / f'target.{fold}.csv' for fold in ('train', 'test'))
  pl.concat([pl.read_csv(train), pl.read_csv(test)[:4]]).write_csv(train)
  read = given.given(given.load_given(tmp_path))
  found = audit.audit(read.dataset, read)
  assert found['test_trained'].count == 4
  cells = read.dataset.pair.target
  assert len(set(zip(cells.user, cells.item))) == cells.user.size


@pytest.mark.parametrize('form', ['recbole', 'lenskit'])
def test_others_find_the_columns_that_they_look_for(form, tmp_path):
  made = splits.leave_one_out(IMPLICIT, negatives=7)
  paths = given.write(made, IMPLICIT, tmp_path, form)
  names = sorted(str(path.relative_to(tmp_path)) for path in paths)
  folds = ('target.test', 'target.train', 'target.valid')
  if form == 'recbole':
    assert names == ['source/source.train.inter', *(f'target/{f}.inter' for f in folds)]
    frame = pl.read_csv(tmp_path / 'target/target.test.inter', separator='\t')
    columns = ['user_id:token', 'item_id:token', 'rating:float', 'timestamp:float']
  else:
    assert names == ['source.train.parquet', *(f'{f}.parquet' for f in folds)]
    frame = pl.read_parquet(tmp_path / 'target.test.parquet')
    columns = ['user_id', 'item_id', 'rating', 'timestamp']
  assert frame.columns == columns
  test = made.test.target
  items = IMPLICIT.ids.target[test.item].tolist()
  assert dict(zip(frame[columns[0]], frame[columns[1]])) == dict(
    zip(IMPLICIT.ids.users[test.user].tolist(), items)
  )


def test_mistakes_name_the_file(tmp_path):
  with pytest.raises(DataError, match='is no folder'):
    given.load_given(tmp_path / 'none')
  made = splits.leave_one_out(IMPLICIT, negatives=7)
  given.write(made, IMPLICIT, tmp_path)
  path = tmp_path / 'negatives.csv'
  lines = path.read_text().splitlines()
  wrong = lines[1].rsplit(',', 1)[0] + ',nothing'
  path.write_text('\n'.join([lines[0], wrong, *lines[2:]]))
  with pytest.raises(DataError, match=r'negatives.csv, line 2: .*nothing'):
    given.load_given(tmp_path)
  path.write_text('\n'.join(lines[:5]))
  with pytest.raises(DataError, match='held-out interactions have none'):
    given.load_given(tmp_path)
  path.write_text('fold,user\n')
  with pytest.raises(DataError, match='its columns must be fold, user, item, negative'):
    given.load_given(tmp_path)
  (tmp_path / 'target.test.csv').unlink()
  with pytest.raises(DataError, match=r'has no target\.test\.csv'):
    given.load_given(tmp_path)
  with pytest.raises(DataError, match="kind='given'"):
    given.given(IMPLICIT)
  with pytest.raises(DataError, match="form='xml'"):
    given.write(made, IMPLICIT, tmp_path, 'xml')


def test_every_prefix_of_the_files_is_a_fold():
  names = {f'{d}.{f}' for d, f in itertools.product(('source', 'target'), given.FOLDS)}
  assert all(name in given.__doc__ for name in names)
