"""Every model in the training loop: sweeps, seeds, checkpoints and resumed runs.

`contract_test.py` checks cheaply what makes these hold; here they are tried, a
model at a time.
"""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import models
from xdomain.data import device
from xdomain.training import checkpoint, loop

NAMES = models.names()
EPOCHS = 2
pytestmark = pytest.mark.matrix


@pytest.fixture(scope='module', params=NAMES)
def name(request):
  """Each model in turn, with all of its tests; then its programs go."""
  yield request.param
  trained.cache_clear()
  jax.clear_caches()


def load(name):
  return importlib.import_module(f'xdomain.models.{name}')


def fit(name, hyper=None, seed=0, split=0, **options):
  small = helpers.small(split=split)
  module = load(name)
  return loop.fit(
    module.model(small.sizes),
    jax.random.key(seed),
    small.data,
    module.Hyper() if hyper is None else hyper,
    epochs=EPOCHS,
    valid=small.valid,
    measure=small.measure,
    **options,
  )


@functools.cache
def trained(name):
  return fit(name)


def score(name, state, split=0):
  small = helpers.small(split=split)
  return load(name).model(small.sizes).predict(state, small.data)


def everything():
  """All users, each with all items."""
  sizes = helpers.small().sizes
  items = np.tile(np.arange(sizes.target), (sizes.users, 1))
  return jnp.arange(sizes.users), jnp.asarray(items)


def stacked(trees):
  return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def other(name):
  """The default hyper-parameters with another value for the first of them."""
  hyper = load(name).Hyper()
  if not hyper:
    pytest.skip(f'{name} has no hyper-parameter')
  return hyper._replace(**{hyper._fields[0]: 0.5 * hyper[0]})


def test_a_sweep_equals_its_runs(name):
  hypers = load(name).Hyper(), other(name)
  swept = fit(name, stacked(hypers))
  users, items = everything()
  for member, hyper in enumerate(hypers):
    alone = fit(name, hyper)
    state = jax.tree.map(lambda leaf, member=member: leaf[member], swept.best)
    np.testing.assert_allclose(
      score(name, state)(users, items),
      score(name, alone.best_of())(users, items),
      atol=1e-4,
    )
    assert swept.best_epoch[member] == alone.best_epoch


def test_seeds_at_once_equal_each_alone(name):
  splits = helpers.small(), helpers.small(split=1)
  both = loop.fit(
    load(name).model(splits[0].sizes),
    jax.vmap(jax.random.key)(jnp.arange(2)),
    device.stack([each.data for each in splits]),
    stacked([load(name).Hyper()] * 2),
    epochs=EPOCHS,
    valid=stacked([each.valid for each in splits]),
    measure=splits[0].measure,
  )
  users, items = everything()
  for seed in range(2):
    state = jax.tree.map(lambda leaf, seed=seed: leaf[seed], both.best)
    alone = fit(name, seed=seed, split=seed)
    np.testing.assert_allclose(
      score(name, state, seed)(users, items),
      score(name, alone.best_of(), seed)(users, items),
      atol=1e-4,
    )
    assert both.best_epoch[seed] == alone.best_epoch


def test_a_new_value_does_not_compile_again(name):
  fit(name)
  before = loop.run_epoch._cache_size()
  fit(name, other(name))
  assert loop.run_epoch._cache_size() == before


def test_the_seed_decides(name):
  again = fit(name)
  for one, two in zip(jax.tree.leaves(trained(name)), jax.tree.leaves(again)):
    np.testing.assert_array_equal(one, two)


def test_saving_and_restoring_changes_nothing(name, tmp_path):
  small, module = helpers.small(), load(name)
  identity = {'method': name}
  checkpoint.save(tmp_path / 'c', trained(name), identity)
  restored = checkpoint.restore(
    tmp_path / 'c',
    identity,
    module.model(small.sizes),
    jax.random.key(0),
    small.data,
    module.Hyper(),
  )
  assert jax.tree.structure(restored) == jax.tree.structure(trained(name))
  for one, two in zip(jax.tree.leaves(restored), jax.tree.leaves(trained(name))):
    np.testing.assert_array_equal(one, two)


def test_a_run_that_goes_on_ends_as_the_unbroken_one(name):
  stands = []
  fit(name, watch=lambda report, at: stands.append(jax.device_get(at)))
  for at in stands[:-1]:
    progress = jax.tree.map(jnp.asarray, at)._replace(stage=at.stage, epoch=at.epoch)
    resumed = fit(name, progress=progress)
    for one, two in zip(jax.tree.leaves(resumed), jax.tree.leaves(trained(name))):
      np.testing.assert_array_equal(one, two)
