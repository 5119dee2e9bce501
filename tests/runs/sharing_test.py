"""The first process makes values, and the others map their arrays."""

import pickle

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xdomain import base, files
from xdomain.data import device, synthetic, types
from xdomain.runs import hosts, sharing
from xdomain.runs import spec as specs


class Coordinator:
  """The messages of all processes, which these tests run one after another."""

  def __init__(self):
    self.messages = {}

  def key_value_set_bytes(self, key, message):
    self.messages[key] = message

  def blocking_key_value_get_bytes(self, key, milliseconds):
    del milliseconds
    return self.messages[key]

  def wait_at_barrier(self, name, milliseconds):
    pass


@pytest.fixture
def both(monkeypatch, tmp_path):
  """A function of the first process's value and of the second's."""
  coordinator = Coordinator()
  monkeypatch.setattr(sharing, '_client', lambda: coordinator)
  monkeypatch.setattr(sharing._State, 'workdir', tmp_path)
  monkeypatch.setattr(sharing._State, 'folder', tmp_path / 'shared')
  (tmp_path / 'shared').mkdir()

  def of(process, function, *args):
    monkeypatch.setattr(hosts, 'first', lambda: process == 0)
    monkeypatch.setattr(sharing._State, 'made', 0)
    return sharing.once(function)(*args)

  return lambda *args: (of(0, *args), of(1, forbidden))


def forbidden():
  raise AssertionError('the second process makes a value')


def mapped(array):
  while isinstance(array.base, np.ndarray):
    array = array.base
  return isinstance(array, np.memmap)


def test_both_processes_map_the_arrays_of_the_first(both):
  pair = synthetic.pair(0).pair
  data = device.put(pair)
  for found in both(lambda: (data, pair, pair.source)):
    arrays, ratings, source = found
    chex.assert_trees_all_equal(arrays, data)
    chex.assert_trees_all_equal(ratings, pair)
    assert isinstance(arrays.target.by_user, base.Rows)
    assert all(map(mapped, jax.tree.leaves(arrays)))
    assert mapped(source.user) and not source.user.flags.writeable
    assert source is ratings.source


def test_text_stays_with_the_first_process(both):
  dataset = synthetic.pair(0)
  first, second = both(lambda: dataset)
  assert first.ids is not dataset.ids and first.ids.users is dataset.ids.users
  assert second.ids == (None, None, None)
  assert second.trail == dataset.trail


@pytest.mark.parametrize(
  'error', [types.DataError('a.csv, line 3'), FileNotFoundError(2, 'none', 'b.csv')]
)
def test_an_error_is_raised_in_every_process(monkeypatch, both, error):
  monkeypatch.setattr(sharing, '_SECONDS', 0)

  def fails():
    raise error

  with pytest.raises(type(error)) as of_first:
    both(fails)
  assert of_first.value is error
  monkeypatch.setattr(hosts, 'first', lambda: False)
  monkeypatch.setattr(sharing._State, 'made', 0)
  with pytest.raises(type(error)) as of_second:
    sharing.once(forbidden)()
  assert str(of_second.value) == str(error)


def test_a_value_within_a_value_is_no_message_of_its_own(both):
  inner = sharing.once(lambda: jnp.arange(3))
  found = both(lambda: inner() + 1)
  chex.assert_trees_all_equal(*found, np.arange(1, 4))


def test_equal_arrays_are_one_file(both, tmp_path):
  same = np.arange(5), jnp.arange(5, dtype=int), np.arange(5, dtype=np.int16)
  both(lambda: (same, np.arange(5)))
  both(lambda: {'again': np.arange(5)})
  assert len(list((tmp_path / 'shared').iterdir())) == len({x.dtype for x in same})


class Intruder:
  def __reduce__(self):
    return print, ('code of a stranger',)


def test_a_message_makes_values_and_runs_no_code(both, capsys):
  value = {'hr@10': np.float64(0.5), 'users': np.int64(3), 'mean': np.float32(1)}
  assert both(lambda: value) == (value, value)
  with pytest.raises(pickle.UnpicklingError, match=r'builtins\.print'):
    both(Intruder)
  assert not capsys.readouterr().out


def test_processes_without_a_common_folder_are_refused(monkeypatch, both, tmp_path):
  both(lambda: np.arange(5))
  monkeypatch.setattr(sharing._State, 'workdir', tmp_path / 'of another host')
  monkeypatch.setattr(sharing._State, 'made', 0)
  with pytest.raises(specs.SpecError, match='give all processes one workdir'):
    sharing.once(forbidden)()


def test_alone_a_process_calls_for_itself(tmp_path):
  with sharing.opened(tmp_path / 'none'):
    made = jnp.arange(3)
    assert sharing.once(lambda: made)() is made
  assert not (tmp_path / 'none').exists()


def test_the_arrays_of_a_killed_run_are_removed_and_those_of_others_stay(tmp_path):
  for name in ('killed', 'running'):
    (tmp_path / f'shared-{name}').mkdir()
    (tmp_path / f'shared-{name}' / '1-0.npy').touch()
  with (tmp_path / 'shared-running' / 'lock').open('w') as lock:
    assert files.lock(lock)
    sharing._remove_left_behind(tmp_path)
  assert [path.name for path in tmp_path.iterdir()] == ['shared-running']
  assert (tmp_path / 'shared-running' / '1-0.npy').exists()
