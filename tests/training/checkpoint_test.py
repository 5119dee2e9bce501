import functools
import resource
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from tests import helpers
from xdomain.models import darec
from xdomain.training import checkpoint, loop

IDENTITY = {'method': 'darec', 'model': {'heads': (5, 4)}, 'seed': 0}


def arguments():
  small = helpers.small()
  model = darec.model(small.sizes, axis='user', embed=4, heads=(5, 4))
  return model, jax.random.key(0), small.data, darec.Hyper()


@functools.cache
def stands():
  """A run's progress after every epoch, copied before the loop reuses it."""
  small = helpers.small()
  kept = []

  def watch(report, progress):
    if report is None:
      return
    arrays = progress._replace(stage=None, epoch=None)
    arrays = jax.tree.map(jnp.copy, arrays)
    kept.append(arrays._replace(stage=progress.stage, epoch=progress.epoch))

  end = loop.fit(
    *arguments(),
    epochs=2,
    valid=small.valid,
    measure=small.measure,
    watch=watch,
  )
  return kept, end


def same(one, two):
  assert jax.tree.structure(one) == jax.tree.structure(two)
  for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two)):
    np.testing.assert_array_equal(a, b)


def test_every_stage_is_restored_exactly_and_goes_on_to_the_same_end(tmp_path):
  small = helpers.small()
  kept, end = stands()
  for progress in (kept[0], kept[3], kept[5]):
    folder = tmp_path / f'{progress.stage}-{progress.epoch}'
    checkpoint.save(folder, progress, IDENTITY)
    restored = checkpoint.restore(folder, IDENTITY, *arguments())
    same(restored, progress)
    resumed = loop.fit(
      *arguments(),
      epochs=2,
      valid=small.valid,
      measure=small.measure,
      progress=restored,
    )
    same(resumed, end)


def test_only_the_last_checkpoint_is_kept(tmp_path):
  kept, _ = stands()
  for progress in kept[:3]:
    checkpoint.save(tmp_path / 'c', progress, IDENTITY)
  same(checkpoint.restore(tmp_path / 'c', IDENTITY, *arguments()), kept[2])
  assert len([p for p in (tmp_path / 'c').iterdir() if p.is_dir()]) == 1


def test_no_checkpoint_is_none(tmp_path):
  assert checkpoint.restore(tmp_path / 'c', IDENTITY, *arguments()) is None
  (tmp_path / 'c').mkdir()
  assert checkpoint.restore(tmp_path / 'c', IDENTITY, *arguments()) is None


def test_another_configuration_is_refused_by_what_differs(tmp_path):
  kept, _ = stands()
  checkpoint.save(tmp_path / 'c', kept[0], IDENTITY)
  with pytest.raises(checkpoint.WrongCheckpoint, match='seed is 1') as error:
    checkpoint.restore(tmp_path / 'c', IDENTITY | {'seed': 1}, *arguments())
  assert 'model' not in str(error.value)


def test_a_checkpoint_of_another_version_is_refused(tmp_path, monkeypatch):
  kept, _ = stands()
  with monkeypatch.context() as context:
    context.setattr(checkpoint, 'FORMAT', 1)
    checkpoint.save(tmp_path / 'c', kept[0], IDENTITY)
  with pytest.raises(checkpoint.WrongCheckpoint, match='another version'):
    checkpoint.restore(tmp_path / 'c', IDENTITY, *arguments())


def test_half_a_checkpoint_is_passed_over(tmp_path):
  kept, _ = stands()
  checkpoint.save(tmp_path / 'c', kept[0], IDENTITY)
  # What a kill leaves: a folder that was never renamed.
  (tmp_path / 'c' / '2.orbax-checkpoint-tmp-1').mkdir()
  same(checkpoint.restore(tmp_path / 'c', IDENTITY, *arguments()), kept[0])


def _files(folder):
  return sorted(path for path in folder.rglob('*') if path.is_file())


@pytest.mark.parametrize('harm', ['truncated', 'missing', 'unlabelled', 'emptied'])
def test_a_damaged_checkpoint_is_refused_by_one_line_that_names_it(tmp_path, harm):
  kept, _ = stands()
  folder = tmp_path / 'c'
  checkpoint.save(folder, kept[0], IDENTITY)
  step = next(path for path in folder.iterdir() if path.name.isdigit())
  if harm == 'missing':
    shutil.rmtree(step / 'tree')
  if harm == 'unlabelled':
    shutil.rmtree(step / 'about')
  for path in _files(step):
    if path.name != '_CHECKPOINT_METADATA':
      size = 0 if harm == 'emptied' else path.stat().st_size // 2
      path.write_bytes(path.read_bytes()[:size])
  with pytest.raises(checkpoint.DamagedCheckpoint) as error:
    checkpoint.restore(folder, IDENTITY, *arguments())
  assert str(folder) in str(error.value) and 'delete it' in str(error.value)
  assert '\n' not in str(error.value)


def test_a_checkpoint_that_cannot_be_written_is_one_line_and_the_last_one_stays(
  tmp_path, monkeypatch
):
  kept, _ = stands()
  checkpoint.save(tmp_path / 'c', kept[0], IDENTITY)

  def full(*args, **kwargs):
    raise OSError(28, 'No space left on device')

  with monkeypatch.context() as context:
    context.setattr(ocp.CheckpointManager, 'save', full)
    with pytest.raises(checkpoint.NotSaved, match='No space left') as error:
      checkpoint.save(tmp_path / 'c', kept[1], IDENTITY)
  assert '\n' not in str(error.value)
  same(checkpoint.restore(tmp_path / 'c', IDENTITY, *arguments()), kept[0])


def test_a_file_that_cannot_grow_is_named_without_tracebacks(tmp_path, capfd):
  kept, _ = stands()
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
  try:
    with pytest.raises(checkpoint.NotSaved, match='cannot be written: File too large'):
      checkpoint.save(tmp_path / 'c', kept[0], IDENTITY)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
  assert capfd.readouterr() == ('', '')
