"""An export recommends as the trained method does, with jax and numpy alone."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as safetensors

from tests import helpers
from xdomain import models
from xdomain.runs import artifact
from xdomain.serving import export, hoisting, portable

SMALL = {
  'autorec_user': dict(embed=4),
  'autorec_item': dict(embed=4),
  'cf_nade_user': dict(hidden=4),
  'rbm_user': dict(hidden=4),
  'ials': dict(factors=4),
  'cmf_implicit': dict(factors=4),
  'shared_vae': dict(hidden=(8,), latent=4),
  'shared_vae_cold': dict(hidden=(8,), latent=4),
  'single_vae': dict(hidden=(8,), latent=4),
}
# Programs that are compiled quickly solve its systems to four digits of float32.
KERNEL_ALS = pytest.param(
  'kernel_als',
  marks=[
    pytest.mark.optimised,
    pytest.mark.skipif(bool(os.environ.get('XLA_FLAGS')), reason='needs XLA_FLAGS='),
  ],
)


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
  """A trained EASE and the folder of its export."""
  model = helpers.trained('ease')
  folder = tmp_path_factory.mktemp('exported') / 'ease'
  export.save(folder, model, top=10, lengths=(32,))
  return model, folder


@pytest.fixture
def copied(exported, tmp_path):
  return shutil.copytree(exported[1], tmp_path / 'copy')


def agrees(model, folder):
  """Asserts that an export gives the items and scores of the trained method."""
  mine = portable.load(folder)
  users = model.ids.users[:6].tolist()
  rows = model.recommend(users, 5, say=lambda line: None)
  expected = {user: [row for row in rows if row.user == user] for user in users}
  for user, got in zip(users, mine.recommend(users, 5)):
    same(got, expected[user])
  if mine.folds_in:
    given = dict(source=['s1', 's3'], target=['t2'])
    same(
      mine.recommend_for(**given, top=5),
      model.recommend_for(**given, top=5, say=lambda line: None),
    )
  else:
    with pytest.raises(portable.ExportError, match='knows the users of its data alone'):
      mine.recommend_for(['s1'])
  return mine


def same(got, expected):
  scores = [score for _, score in got]
  np.testing.assert_allclose(
    scores, [row.score for row in expected], rtol=1e-4, atol=1e-5
  )
  if scores and np.ptp(scores) > 1e-3:  # Items of equal scores may change places.
    assert got[0][0] == expected[0].item or scores[0] - scores[1] < 1e-4


def test_an_export_recommends_as_the_method_does(tmp_path):
  model = helpers.trained('bias')
  about = export.save(tmp_path / 'out', model, top=10, lengths=(32,))
  assert about['platforms'] == ['cpu', 'cuda', 'tpu']
  agrees(model, tmp_path / 'out')


@pytest.mark.matrix
def test_both_domains_as_one_are_exported_too(exported):
  agrees(*exported)


@pytest.mark.matrix
@pytest.mark.parametrize(
  'name',
  [
    KERNEL_ALS,
    *(name for name in models.names() if name != 'kernel_als'),
    *('autorec_user', 'rbm_user'),
  ],
)
def test_every_method_can_be_exported(name, tmp_path):
  if name == 'shared_vae_aux':
    pytest.skip('it needs side vectors')
  every = 10 if name == 'fm_cdcf_mcmc' else 1
  model = helpers.trained(name, SMALL.get(name), epochs=every)
  about = export.save(tmp_path / 'out', model, top=10, lengths=(32,))
  assert about['folds_in'] == (model._model.fold_in is not None)
  agrees(model, tmp_path / 'out')


ALONE = """
import sys
ALLOWED = ('jax', 'jaxlib', 'numpy', 'ml_dtypes', 'opt_einsum', 'scipy', 'portable')
ALLOWED += ('jax_plugins', 'web_pdb')  # jax looks whether they are installed.

class Refusing:
  def find_spec(self, name, path=None, target=None):
    first = name.partition('.')[0]
    ours = first in ALLOWED or first.startswith('_sysconfigdata')
    if not ours and first not in sys.stdlib_module_names:
      raise ImportError(f'{name} is not allowed')

sys.meta_path.insert(0, Refusing())
import json, portable
model = portable.load('.')
query = model.new(model.places('source', ['s1']), model.places('target', ['t2']))
items, scores = model.best([query] * 3)
why = model.why(query, items[0][:2])
json.dump([model.named(items, scores, 4)[2], why], sys.stdout)
"""


@pytest.mark.matrix
def test_it_runs_with_jax_and_numpy_alone(exported):
  model, folder = exported
  run = subprocess.run(
    [sys.executable, '-c', ALONE], cwd=folder, capture_output=True, text=True
  )
  assert run.returncode == 0, run.stderr
  got, why = json.loads(run.stdout)
  same(got, model.recommend_for(['s1'], ['t2'], 4, say=lambda line: None))
  assert len(why) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
  ('python', 'version'), [('python3', '==0.10.2'), ('python3.12', '==0.12.*')]
)
def test_it_runs_where_only_jax_and_numpy_are_installed(
  exported, tmp_path, python, version
):
  if subprocess.run(['bash', '-c', f'{python} -c 0']).returncode:
    pytest.skip(f'{python} is missing')
  model, folder = exported
  subprocess.run([python, '-m', 'venv', tmp_path], check=True)
  pip = [tmp_path / 'bin/pip', 'install', '-q', f'jax{version}', 'numpy']
  subprocess.run(pip, check=True)
  # The suite's flags are those of its own version of jax.
  env = {name: value for name, value in os.environ.items() if name != 'XLA_FLAGS'}
  run = subprocess.run(
    [tmp_path / 'bin/python', '-c', ALONE],
    cwd=folder,
    env=env,
    capture_output=True,
    text=True,
  )
  assert run.returncode == 0, run.stderr
  got, _ = json.loads(run.stdout)
  same(got, model.recommend_for(['s1'], ['t2'], 4, say=lambda line: None))


def test_the_loader_imports_nothing_of_the_package():
  text = pathlib.Path(portable.__file__).read_text('utf-8')
  assert 'import xdomain' not in text and 'from xdomain' not in text


def test_a_contribution_is_the_score_less_that_without_the_item(exported):
  model, folder = exported
  mine = portable.load(folder)
  query = mine.new(mine.places('source', ['s1', 's2']), mine.places('target', ['t4']))
  items = mine.best([query])[0][0][:3]
  (first, *_) = mine.why(query, items, most=9)
  # EASE is linear: an item contributes its score as the only item of a history.
  expected = {
    (domain, name): score_of(model, mine.target[items[0]], **{domain: [name]})
    for domain, name in (('source', 's1'), ('source', 's2'), ('target', 't4'))
  }
  got = {(domain, getattr(mine, domain)[at]): added for domain, at, added in first}
  assert list(got.values()) == sorted(got.values(), reverse=True)
  assert got.keys() == {name for name, score in expected.items() if score > 1e-6}
  for name, added in got.items():
    np.testing.assert_allclose(added, expected[name], rtol=1e-3, atol=1e-6)


def score_of(model, item, **history):
  rows = model.recommend_for(
    **history, top=len(model.ids.target), say=lambda line: None
  )
  return {row.item: row.score for row in rows}[item]


def test_queries_of_any_number_and_length_are_answered_alike(exported):
  _, folder = exported
  mine = portable.load(folder)
  queries = [
    mine.new({at % 20: None for at in range(n)}, {n: None}) for n in range(1, 12)
  ]
  items, scores = mine.best(queries * 7)
  for at, query in enumerate(queries):
    alone = mine.best([query])
    np.testing.assert_allclose(scores[at], alone[1][0], rtol=1e-4, atol=1e-6)
  assert items.shape == (77, 10)
  with pytest.raises(portable.ExportError, match='items are too many, at most'):
    mine.best([mine.new(dict.fromkeys(range(2000)), {})])


def test_a_rating_is_clipped_to_the_scale_and_counts(tmp_path):
  model = helpers.trained('bias')
  export.save(tmp_path / 'out', model, top=10, lengths=(32,))
  mine = portable.load(tmp_path / 'out')
  low, high = (
    mine.recommend_for(target={'t1': rating, 't2': rating}, top=1)[0][1]
    for rating in (1, 5)
  )
  assert 1 <= low < high <= 5


@pytest.mark.parametrize('damage', ['flip', 'cut', 'missing'])
@pytest.mark.parametrize('name', ['arrays.safetensors', 'best_32.stablehlo'])
def test_a_damaged_file_is_refused(copied, name, damage):
  path = copied / name
  content = bytearray(path.read_bytes())
  path.unlink()
  if damage == 'flip':
    content[len(content) // 2] ^= 1
  if damage != 'missing':
    path.write_bytes(content[:-10] if damage == 'cut' else content)
  with pytest.raises(portable.ExportError, match=r'damaged|lacks a file'):
    portable.load(copied)


@pytest.mark.parametrize(
  'text', ['', '[]', '{}', '{"format": 99}', '{"format": 1}', '[' * 100_000]
)
def test_another_description_is_refused(copied, text):
  (copied / 'about.json').write_text(text)
  with pytest.raises(portable.ExportError):
    portable.load(copied)


def test_an_export_replaces_an_export_and_nothing_else(exported, copied, tmp_path):
  model, _ = exported
  export.save(copied, model, top=5, lengths=(32,))
  assert portable.load(copied).top == 5
  assert [path.name for path in tmp_path.iterdir()] == ['copy']
  (copied / 'about.json').unlink()
  with pytest.raises(artifact.ArtifactError, match='something else than an export'):
    export.save(copied, model)


def test_arrays_are_safetensors(tmp_path):
  arrays = {
    'a': np.arange(3, dtype=np.int32),
    'b': np.ones((2, 2), np.float32),
    'c': np.zeros(0, np.uint8),
    'd': np.array(True),
    'e': np.array([1 << 40]),
  }
  portable.write_safetensors(tmp_path / 'mine', arrays)
  safetensors.save_file(arrays, tmp_path / 'theirs')
  for name in ('mine', 'theirs'):
    got = portable.read_safetensors(tmp_path / name)
    other = safetensors.load_file(tmp_path / name)
    assert got.keys() == other.keys() == arrays.keys()
    for key, array in arrays.items():
      np.testing.assert_array_equal(got[key], array)
      np.testing.assert_array_equal(other[key], array)
      assert got[key].dtype == array.dtype and not got[key].flags.writeable


def test_ids_are_found_and_searched():
  names = ['Heat (1995)', 'Alien', 'Aliens', 'büb', '', 'The Alien']
  mine = portable.Names(portable.Names.arrays('users', names), 'users')
  assert [mine[at] for at in range(len(mine))] == names
  assert [mine.find(name) for name in names] == list(range(6))
  assert mine.find('heat (1995)') == mine.find('\ud800') == -1
  weight = np.array([1, 2, 3, 4, 5, 6])
  assert mine.search('alien', weight, 9) == [2, 1, 5]
  assert mine.search('BÜB', weight, 9) == [3]
  assert mine.search('nonsense', weight, 9) == []
  assert mine.search('', weight, 2) == [5, 4]


def test_what_users_share_is_computed_once():
  def function(parameters, row):
    gram = parameters['table'].T @ parameters['table']
    return jnp.linalg.solve(gram, row) @ parameters['table'].T + parameters['bias'][0]

  table = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
  given = {'table': jnp.asarray(table), 'bias': jnp.ones(2), 'unread': jnp.ones(9)}
  row = jax.ShapeDtypeStruct((3,), jnp.float32)
  hoisted = hoisting.hoist(function, given, row)
  shapes = sorted(value.shape for value in hoisted.values.values())
  assert (50, 3) in shapes and (9,) not in shapes
  value = jnp.arange(3.0)
  np.testing.assert_allclose(
    hoisted.rest(hoisted.values, value), function(given, value), rtol=1e-4
  )
  counted = str(jax.make_jaxpr(hoisted.rest)(hoisted.values, value))
  assert counted.count('dot_general') < str(
    jax.make_jaxpr(function)(given, value)
  ).count('dot_general')


@pytest.mark.matrix
def test_the_command_exports_a_run_by_its_name(tmp_path):
  helpers.trained('ease').save(tmp_path / 'runs' / 'ease-seed0-abc' / 'model')
  command = f'-m experiments.export --run=ease --out={tmp_path / "out"} --top=7'
  run = subprocess.run(
    [sys.executable, *command.split(), f'--workdir={tmp_path / "runs"}'],
    capture_output=True,
    text=True,
    check=True,
  )
  assert 'known and new users, up to 7 items, for cpu, cuda, tpu' in run.stdout
  assert portable.load(tmp_path / 'out').top == 7
