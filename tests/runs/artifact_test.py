"""An artefact gives what was saved, refuses what it does not know, runs no code."""

import json
import shutil

import jax
import numpy as np
import pytest

import xdomain as xd
from xdomain.data import synthetic
from xdomain.runs import artifact
from xdomain.runs import spec as specs


@pytest.fixture(scope='module')
def trained():
  pair = synthetic.pair(
    0, users=40, source=20, target=25, source_ratings=700, target_ratings=900
  )
  split = xd.leave_one_out(pair, negatives=5)
  return xd.fit('ials', split, model=dict(factors=4), epochs=2, patience=2)


@pytest.fixture(scope='module')
def saved(trained, tmp_path_factory):
  folder = tmp_path_factory.mktemp('saved') / 'model'
  trained.save(folder)
  return folder


@pytest.fixture
def copied(saved, tmp_path):
  return shutil.copytree(saved, tmp_path / 'model')


def test_what_is_loaded_is_what_was_saved(trained, saved):
  again = xd.load(saved)
  for one, other in zip(jax.tree.leaves(trained.state), jax.tree.leaves(again.state)):
    np.testing.assert_array_equal(one, other)
  assert specs.plain(again.spec) == specs.plain(trained.spec)
  assert (again.epoch, again.ids.users.tolist()) == (
    trained.epoch,
    trained.ids.users.tolist(),
  )
  assert again.recommend(top=3) == trained.recommend(top=3)
  assert again.recommend_for(['s1'], ['t2'], top=3) == trained.recommend_for(
    ['s1'], ['t2'], top=3
  )
  assert again.evaluate() == json.loads(json.dumps(trained.evaluate()))


def test_it_can_be_saved_again_over_itself_and_over_nothing_else(saved, copied):
  xd.load(saved).save(copied)
  assert sorted(path.name for path in copied.parent.iterdir()) == ['model']
  assert xd.load(copied).recommend(top=2) == xd.load(saved).recommend(top=2)
  (copied / 'about.json').unlink()
  with pytest.raises(artifact.ArtifactError, match='something other than an artefact'):
    xd.load(saved).save(copied)


def test_a_save_that_is_broken_off_leaves_the_old_one(trained, copied, monkeypatch):
  before = {path.name: path.read_bytes() for path in copied.iterdir()}

  def broken(about):
    raise KeyboardInterrupt

  monkeypatch.setattr(artifact, '_card', broken)
  with pytest.raises(KeyboardInterrupt):
    trained.save(copied)
  assert {path.name: path.read_bytes() for path in copied.iterdir()} == before
  assert [path.name for path in copied.parent.iterdir()] == ['model']


def test_the_card_says_what_it_is(saved):
  about = json.loads((saved / 'about.json').read_text())
  users = about['data']['users']
  assert about['method'] == 'ials' and users == len(xd.load(saved).ids.users)
  card = (saved / 'README.md').read_text()
  assert 'ials' in card and f'{users} users' in card and 'ndcg@10' in card


def write_card(folder, about):
  """Writes a model card that another program could have written."""
  about = about | {'digest': artifact._digest(about)}
  (folder / 'about.json').write_text(json.dumps(about))


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (dict(format=99), 'has format 99, and xdomain'),
    (dict(format=None), 'has format None'),
    (dict(spec=dict(method='os')), "'name' is missing"),
  ],
)
def test_an_unknown_format_or_spec_is_refused(copied, change, message):
  about = json.loads((copied / 'about.json').read_text())
  write_card(copied, about | change)
  with pytest.raises(artifact.ArtifactError, match=message):
    xd.load(copied)


def test_an_unknown_method_or_other_sizes_are_refused(copied):
  about = json.loads((copied / 'about.json').read_text())
  for field, value, message in (
    ('method', 'wizard', "method is 'wizard'"),
    ('model', {'factors': 5}, r'is float32\[\d+, 4\], expected float32\[\d+, 5\]'),
  ):
    changed = about | {'spec': about['spec'] | {field: value}}
    write_card(copied, changed)
    with pytest.raises(artifact.ArtifactError, match=message):
      xd.load(copied)


@pytest.mark.parametrize(
  'name', ['model.safetensors', 'interactions.safetensors', 'users.parquet']
)
@pytest.mark.parametrize('damage', ['cut', 'missing', 'text'])
def test_a_damaged_file_is_one_line(copied, name, damage):
  path = copied / name
  content = path.read_bytes()
  if damage == 'missing':
    path.unlink()
  else:
    path.write_bytes(content[: len(content) // 2] if damage == 'cut' else b'hello')
  with pytest.raises(artifact.ArtifactError) as error:
    xd.load(copied)
  assert '\n' not in str(error.value) and str(copied) in str(error.value)


@pytest.mark.parametrize(
  'name', ['model.safetensors', 'interactions.safetensors', 'target.parquet']
)
def test_a_bit_that_changed_is_noticed(copied, name):
  path = copied / name
  content = bytearray(path.read_bytes())
  content[-5] ^= 1
  path.write_bytes(bytes(content))
  with pytest.raises(artifact.ArtifactError, match=f'{name} has changed since'):
    xd.load(copied)


def test_a_number_that_changed_in_the_card_is_noticed(copied):
  path = copied / 'about.json'
  path.write_text(path.read_text().replace('"format": 1', '"format": 1, "seed": 2'))
  with pytest.raises(artifact.ArtifactError, match=r'about\.json has changed since'):
    xd.load(copied)


def test_an_artefact_without_digests_is_read(copied):
  about = json.loads((copied / 'about.json').read_text())
  about = {k: v for k, v in about.items() if k not in ('digest', 'sha256')}
  (copied / 'about.json').write_text(json.dumps(about))
  assert xd.load(copied).spec.method == 'ials'


def test_a_folder_without_an_artefact_is_refused(tmp_path):
  with pytest.raises(artifact.ArtifactError, match='holds no artefact'):
    xd.load(tmp_path)
