import numpy as np
import pytest

from tests.data import toys
from xdomain.data import cache, mapped
from xdomain.data.types import DataError, Pair, Ratings


def test_a_saved_pair_comes_back_whole(tmp_path):
  dataset = toys.aligned()
  side = np.array([[1.0, 2.0], [3.0, 4.0]])
  for pair in (dataset.pair, dataset.pair._replace(side=side)):
    path = tmp_path / 'made' / 'pair.npz'
    cache.save(dataset._replace(pair=pair), path)
    back = cache.load(path)
    toys.assert_same(back.pair.source, pair.source)
    toys.assert_same(back.pair.target, pair.target)
    np.testing.assert_array_equal(back.pair.side, pair.side)
    toys.assert_same(back.ids, dataset.ids)
    assert not back.pair.target.user.flags.owndata  # It is in the file.
    assert back.pair.target.user.ctypes.data % 64 == 0
    assert (back.name, back.scale, back.trail) == (
      dataset.name,
      dataset.scale,
      dataset.trail,
    )
    assert [file.name for file in path.parent.iterdir()] == ['pair.npz']


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
  path = tmp_path / 'pair.npz'
  cache.save(toys.aligned(), path)
  before = path.read_bytes()

  def fails(file, arrays):
    del arrays
    file.write(b'half')
    raise OSError('disk full')

  monkeypatch.setattr(mapped, 'save', fails)
  with pytest.raises(OSError, match='disk full'):
    cache.save(toys.aligned(), path)
  assert path.read_bytes() == before
  assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
  'damage', ['cut', 'beheaded', 'empty', 'text', 'flipped', 'other']
)
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, damage):
  path = tmp_path / 'pair.npz'
  cache.save(toys.aligned(), path)
  whole = path.read_bytes()
  flipped = bytearray(whole)
  flipped[whole.index(b'\x93NUMPY') + 130] ^= 1
  np.savez(tmp_path / 'other.npz', a=np.zeros(3))
  path.write_bytes(
    {
      'cut': whole[: len(whole) // 2],
      'beheaded': whole[len(whole) // 2 :],
      'empty': b'',
      'text': b'user,item\n1,2\n',
      'flipped': bytes(flipped),
      'other': (tmp_path / 'other.npz').read_bytes(),
    }[damage]
  )
  with pytest.raises(DataError, match=r'pair\.npz .*delete it'):
    cache.load(path)


def test_a_missing_file_is_just_missing(tmp_path):
  with pytest.raises(FileNotFoundError):
    cache.load(tmp_path / 'pair.npz')


def test_the_digest_is_of_the_numbers_and_not_of_the_names():
  dataset = toys.aligned()
  renamed = dataset._replace(
    name='other',
    trail=(),
    ids=dataset.ids._replace(users=np.array(['x', 'y'])),
  )
  assert cache.digest(renamed) == cache.digest(dataset)
  assert len(cache.digest(dataset)) == 64


def test_the_digest_sees_every_number():
  dataset = toys.aligned()
  pair = dataset.pair
  value = pair.target.value.copy()
  value[2] = 3
  other_value = pair._replace(target=pair.target._replace(value=value))
  other_size = pair._replace(source=pair.source._replace(n_items=4))
  other_side = pair._replace(side=np.zeros((2, 1)))
  others = [
    dataset._replace(pair=each)
    for each in (
      other_value,
      other_size,
      other_side,
      pair._replace(source=pair.target, target=pair.source),
    )
  ]
  others.append(dataset._replace(scale=(0, 5)))
  digests = {cache.digest(each) for each in (dataset, *others)}
  assert len(digests) == 6


def test_a_digest_is_the_same_on_every_machine():
  ratings = Ratings(
    np.array([0, 1], np.int32),
    np.array([1, 0], np.int32),
    np.array([4, 2.5], np.float32),
    np.zeros(0, np.int64),
    2,
    2,
  )
  assert cache.sha256(Pair(ratings, ratings)) == (
    '6977fb3f80f4e2713636b37e347dd9c435eb9a07278246141053f483a2de321c'
  )
