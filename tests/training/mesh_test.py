"""Training on a mesh equals training on one device, and moves no table.

The tests of meshes need 8 devices; a test of the matrix runs them on virtual ones.
"""

import importlib
import os
import re
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import base, least_squares, shards
from xdomain.evaluation import rankings
from xdomain.runs import devices, memory
from xdomain.training import checkpoint, loop, placement

on_a_mesh = pytest.mark.skipif(
  jax.device_count() != 8, reason='run by the test of eight devices'
)
VAE = dict(hidden=(16,), latent=8)
# Every method that trains at scale, in every form.
RATING = {
  'pmf': dict(factors=4, batch=64),
  'cmf': dict(),
  'cmf als': dict(solver='als'),
  'autorec user': dict(axis='user', embed=8, batch=16),
  'autorec item': dict(axis='item', embed=8, batch=16),
  'darec': dict(),
  'emcdr': dict(),
}
RANKING = {
  'bpr': dict(batch=16),
  'ials': dict(factors=8),
  'ials cg': dict(factors=8, solver='cg'),
  'cmf_implicit': dict(factors=4),
  'mult_vae': VAE,
  'shared_vae': VAE,
  'shared_vae_aux': VAE,
  'shared_vae_cold': VAE,
  'single_vae': VAE,
  'mlp': dict(),
  'conet': dict(),
}
METHODS = RATING | RANKING
# A method whose numbers decide how it solves, in the same program.
WEIGHTED = 'cmf_implicit weighted'


def method(name, **sizes):
  """A model with its hyper-parameters and a pair that it trains on."""
  word, *_ = name.split()
  pair = helpers.small if name in RATING else helpers.implicit
  pair = pair(**sizes)
  module = importlib.import_module(f'xdomain.models.{word}')
  hyper = module.Hyper(pos_weight=2.0) if name == WEIGHTED else module.Hyper()
  settings = METHODS[word if name == WEIGHTED else name]
  return module.model(pair.sizes, **settings), hyper, pair


def fit(name, axes, hyper=None, key=None, **options):
  model, default, pair = method(name)
  return loop.fit(
    model,
    jax.random.key(0) if key is None else key,
    pair.data,
    default if hyper is None else hyper,
    epochs=2,
    valid=pair.valid,
    measure=pair.measure,
    axes=axes,
    **options,
  )


def best(progress):
  """The best states of all members on the host, at their own size."""
  width = progress.failed.size
  return [shards.gathered(progress.best_of(member)) for member in range(width)]


def tables(tree):
  is_shards = lambda node: isinstance(node, shards.Shards)  # noqa: E731
  return [each for each in jax.tree.leaves(tree, is_leaf=is_shards) if is_shards(each)]


def test_the_largest_scores_of_parts_are_the_largest_of_all():
  rng = np.random.default_rng(0)
  scores = rng.integers(0, 9, (5, 30)).astype(np.float32)  # With many ties.
  scores[1:3, 4:] = -np.inf
  wide = rng.integers(0, 9, (5, 10 * rankings.GROUP + 9)).astype(np.float32)
  wide[1:3, 4:] = -np.inf
  cases = *((scores, *case) for case in ((4, 3), (7, 30), (8, 12))), (wide, 1, 5)
  for of, parts, top in cases:
    expected = jax.lax.top_k(jnp.asarray(of), top)
    found = rankings.largest(jnp.asarray(of), top, parts)
    chex.assert_trees_all_equal(tuple(found), tuple(expected))


def test_memory_of_tables_is_divided_among_their_shards():
  model, hyper, pair = method('bpr')
  need = memory.of_member(model, jax.random.key(0), pair.data, hyper)
  users, items, factors = pair.sizes.users, pair.sizes.target, 64
  floats = users * factors + items * (factors + 1)
  # State, best state and gradient, beside the largest array of an epoch.
  assert need.tables >= 4 * 3 * floats
  assert need.on(shards.Axes(rows=4)) == -(-need.tables // 4) + need.rest


@on_a_mesh
@pytest.mark.parametrize('name', [*METHODS, WEIGHTED])
def test_a_mesh_trains_as_one_device(name):
  alone, spread = fit(name, shards.ONE), fit(name, shards.Axes(2, 4))
  assert alone.best_epoch == spread.best_epoch
  chex.assert_trees_all_close(alone.best_value, spread.best_value, rtol=1e-5)
  chex.assert_trees_all_close(best(alone), best(spread), atol=1e-5, rtol=1e-4)
  assert tables(spread.state)
  for table in tables(spread.state):
    (part, *_) = table.array.addressable_shards
    assert part.data.nbytes * 4 == table.array.nbytes


@on_a_mesh
@pytest.mark.parametrize('width', [1, 2])
def test_each_device_holds_its_share_of_the_interactions(width):
  """Of all that `Rows` hold but what has a number for each user or item."""
  _, hyper, pair = method('bpr')
  axes, key, data = shards.Axes(2, 4 // width), jax.random.key(0), pair.data
  if width > 1:  # Of several seeds, each with data of its own.
    key = jax.random.split(key, width)
    data = jax.tree.map(lambda leaf: np.stack([leaf] * width), data)
  _, placed = placement.plan(key, hyper, data, axes).place((key, data))
  for given, found in zip(matrices(data), matrices(placed), strict=True):
    chex.assert_trees_all_equal(given.start, found.start)
    for name in ('row', 'column', 'value'):
      whole, parts = getattr(given, name), getattr(found, name).array
      chex.assert_trees_all_equal(whole, parts[..., : whole.shape[-1]])
      assert parts.shape[-1] - whole.shape[-1] < 8
      for part in parts.addressable_shards:
        assert part.data.nbytes * 8 == parts.nbytes


def matrices(data):
  is_rows = lambda node: isinstance(node, base.Rows)  # noqa: E731
  return [each for each in jax.tree.leaves(data, is_leaf=is_rows) if is_rows(each)]


@on_a_mesh
@pytest.mark.parametrize('name', ['bpr', 'mlp'])
def test_many_entries_are_read_by_the_devices_that_hold_them(name, monkeypatch):
  monkeypatch.setattr(shards, 'READ', 64)
  # On a mesh of its own, so that the program is traced anew.
  alone, spread = fit(name, shards.ONE), fit(name, shards.Axes(4, 2))
  chex.assert_trees_all_close(best(alone), best(spread), atol=1e-5, rtol=1e-4)


@on_a_mesh
@pytest.mark.parametrize('name', METHODS)
def test_neither_tables_nor_interactions_cross_devices(name, monkeypatch):
  """An epoch's collectives move rows of batches and Gramians."""
  # So few slots and so many rows that a block is smaller than a table.
  monkeypatch.setattr(least_squares, 'SLOTS', {'cpu': 256})
  model, hyper, pair = method(
    name, users=700, source=304, target=296, source_ratings=15750, target_ratings=15750
  )
  axes, key = shards.Axes(1, 8), jax.random.key(0)
  plan = placement.plan(key, hyper, pair.data, axes)
  key, data = plan.place((key, pair.data))
  entries = {rows.column.array.shape for rows in matrices(data)}
  # An epoch of BPR draws as many; CMF of positives joins the lists of both domains.
  if name in ('bpr', 'cmf_implicit'):
    entries = set()
  for stage, at in zip(model.stages, loop.shapes(model, key, data, hyper, axes)):
    state = at.state
    if not tables(state):
      continue
    program = loop.run_epoch.lower(
      plan, stage, state, key, (at.stage, 1), data, plan.per_member(hyper)
    ).compile()
    shapes = {table.array.shape[1:] for table in tables(state)}
    shapes |= {(table.n_rows, *table.array.shape[2:]) for table in tables(state)}
    whole = {shape for shape in shapes if len(shape) > 1}
    moved = list(collectives(program.as_text()))
    assert moved
    for kind, shape in moved:
      assert not whole & {shape, shape[::-1]}, (kind, shape)
      assert shape not in entries, (kind, shape)


def collectives(text):
  """The kind of each collective of a compiled program, and the shape that it moves."""
  for line in text.splitlines():
    found = re.search(
      r'= (.*?) (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)'
      r'(?:-start)?\(',
      line,
    )
    if found:
      for extent in re.findall(r'\w+\[([\d,]*)\]', found[1]):
        yield found[2], tuple(int(n) for n in extent.split(',') if n)


@on_a_mesh
@pytest.mark.parametrize('name', ['bpr', 'ials', 'pmf'])
def test_members_are_spread_beside_batches_and_tables(name):
  _, hyper, _ = method(name)
  swept = jax.tree.map(lambda value: jnp.array([value, 1.5 * value]), hyper)
  alone = [
    *best(fit(name, shards.ONE, jax.tree.map(lambda leaf: leaf[0], swept))),
    *best(fit(name, shards.ONE, jax.tree.map(lambda leaf: leaf[1], swept))),
  ]
  spread = fit(name, shards.Axes(2, 2), swept)
  chex.assert_trees_all_close(alone, best(spread), atol=1e-5, rtol=1e-4)
  for table in tables(spread.state):
    assert table.array.sharding.mesh.shape == {'runs': 2, 'data': 2, 'rows': 2}
    (part, *_) = table.array.addressable_shards
    assert part.data.nbytes * 4 == table.array.nbytes


@on_a_mesh
@pytest.mark.parametrize('name', ['bpr', 'ials'])
def test_seeds_with_data_of_their_own_are_spread_beside_batches_and_tables(name):
  model, hyper, pair = method(name)
  keys = jax.random.split(jax.random.key(3), 2)
  alone = [
    *best(fit(name, shards.ONE, key=keys[0])),
    *best(fit(name, shards.ONE, key=keys[1])),
  ]
  own = [
    jax.tree.map(lambda leaf: np.stack([leaf, leaf]), each)
    for each in (pair.data, pair.valid)
  ]
  spread = loop.fit(
    model,
    keys,
    own[0],
    hyper,
    epochs=2,
    valid=own[1],
    measure=pair.measure,
    axes=shards.Axes(2, 2),
  )
  chex.assert_trees_all_close(alone, best(spread), atol=1e-5, rtol=1e-4)
  for table in tables(spread.state):
    assert table.array.sharding.mesh.shape == {'runs': 2, 'data': 2, 'rows': 2}


@on_a_mesh
@pytest.mark.parametrize('name', ['ials', 'ials cg', 'cmf_implicit'])
def test_each_device_solves_its_share_of_the_systems(name):
  """The arrays that a block of systems takes are divided among the devices."""
  model, hyper, pair = method(name, users=700, source_ratings=9000, target_ratings=9000)
  axes, key = shards.Axes(2, 4), jax.random.key(0)
  plan = placement.plan(key, hyper, pair.data, axes)
  key, data = plan.place((key, pair.data))
  state = loop.shapes(model, key, data, hyper, axes)[0].state
  program = loop.run_epoch.lower(
    plan, model.stages[0], state, key, (0, 1), data, plan.per_member(hyper)
  ).compile()
  text = program.as_text()
  moved = list(collectives(text))
  blocks = [shape for kind, shape in moved if kind == 'reduce-scatter' and shape[2:]]
  assert blocks
  solved = []
  for own, length, factors in blocks:
    # The ids of four devices along the rows come together, and the vectors of its own.
    assert ('all-gather', (4 * own, length)) in moved
    each = f'{own},{factors}' if name == 'ials cg' else f'{own},{factors},{factors}'
    solved.append(f'f32[{each}]' in text)
  # CMF also sums vectors by blocks, for rows that share a system.
  assert any(solved) if name == 'cmf_implicit' else all(solved)


@on_a_mesh
def test_a_checkpoint_resumes_on_any_mesh(tmp_path):
  model, hyper, pair = method('pmf')
  end = best(fit('pmf', shards.ONE))
  meshes = shards.ONE, shards.Axes(1, 8), shards.Axes(2, 3)
  for saved in meshes:
    folder = tmp_path / '-'.join(map(str, saved))

    def save(report, progress, folder=folder):
      if report is not None and progress.epoch == 1:
        checkpoint.save(folder, progress, {})

    fit('pmf', saved, watch=save)
    for axes in meshes:
      arguments = {}, model, jax.random.key(0), pair.data, hyper, axes
      restored = checkpoint.restore(folder, *arguments)
      assert restored.epoch == 1
      resumed = fit('pmf', axes, progress=restored)
      chex.assert_trees_all_close(end, best(resumed), atol=1e-5, rtol=1e-4)


@on_a_mesh
@pytest.mark.parametrize('name', ['bpr', 'ials', 'shared_vae'])
def test_ranks_and_lists_come_from_shards(name):
  model, _, pair = method(name)
  known, users = pair.data.target.by_user, np.arange(pair.sizes.users)
  queries = pair.test.target
  found = []
  for axes in (shards.ONE, shards.Axes(1, 8)):
    state = fit(name, axes).best_of()
    assert shards.number(state) == axes.rows
    data, seen = placement.beside(state, (pair.data, known))
    assert shards.any_of((data, seen)) == (axes != shards.ONE)
    ranks = rankings.ranks(model, state, data, queries, seen)
    items, scores = rankings.best(model, state, data, seen, users, 10)
    found.append((ranks, items, scores))
  alone, spread = found
  chex.assert_trees_all_equal(tuple(alone[0]), tuple(spread[0]))
  np.testing.assert_array_equal(alone[1], spread[1])
  np.testing.assert_allclose(alone[2], spread[2], rtol=1e-4, atol=1e-6)


@on_a_mesh
def test_a_shard_is_on_all_devices_as_it_is_on_its_own():
  table = np.arange(24, dtype=np.float32).reshape(8, 3)
  for axes in ((1, 2, 4), (2, 1, 4), (1, 1, 8)):
    mesh = placement.mesh(axes, jax.devices())
    spread = shards.spread(table, frozenset({8}), mesh).array
    for at, rows in enumerate(np.split(table, axes[-1])):
      found = shards._shard(spread, at, mesh)
      assert found.is_fully_replicated
      np.testing.assert_array_equal(found, rows)


@on_a_mesh
def test_a_state_that_one_device_cannot_hold_scores_from_shards(monkeypatch):
  model, _, pair = method('bpr')
  state, data = fit('bpr', shards.ONE).best_of(), pair.data
  assert devices.scoring(state, data) is state
  monkeypatch.setattr(memory, 'free', lambda: 1000)
  spread = devices.scoring(jax.device_get(state), data)
  assert shards.number(spread) == 8
  chex.assert_trees_all_equal(shards.gathered(spread), jax.device_get(state))
  known, users = data.target.by_user, np.arange(9)
  alone = rankings.best(model, state, data, known, users, 5)
  found = rankings.best(model, spread, data, known, users, 5)
  np.testing.assert_array_equal(alone[0], found[0])
  np.testing.assert_allclose(alone[1], found[1], rtol=1e-5)


@pytest.mark.skipif(jax.device_count() == 8, reason='it would not end')
@pytest.mark.matrix
def test_on_eight_devices(pytestconfig):
  cache = pytestconfig.getini('cache_dir')
  flags = os.environ.get('XLA_FLAGS', '')
  settings = {
    'JAX_PLATFORMS': 'cpu',
    'XLA_FLAGS': f'{flags} --xla_force_host_platform_device_count=8',
  }
  words = f'pytest -q -p no:xdist --override-ini=addopts= -o cache_dir={cache}'
  run = subprocess.run(
    [sys.executable, '-m', *words.split(), __file__],
    env=os.environ | settings,
    capture_output=True,
    text=True,
  )
  assert run.returncode == 0, run.stdout
  assert ' skipped' not in run.stdout.replace('1 skipped', '')
