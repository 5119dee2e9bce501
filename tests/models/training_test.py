"""Every model in the training loop: members, checkpoints and resumed runs.

`contract_test.py` checks cheaply what makes these hold; here they are tried, a
model at a time, with three sets of programs: of one run, of members with data of
their own, and of members that share it.
"""

import functools
import importlib
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import models
from xdomain.data import device
from xdomain.evaluation import ratings
from xdomain.training import checkpoint, loop

NAMES = models.names()
EPOCHS = 2
# Models that are also compiled with all optimisations. Between them they have dense
# and sparse layers, several stages, drawn negatives, and solvers of three kinds.
OPTIMISED = 'bpr', 'cmf', 'darec', 'ials', 'kernel_als', 'shared_vae'
pytestmark = pytest.mark.matrix


class Error(NamedTuple):
  """The RMSE of scores as they are; its answers are the scores."""

  def __call__(self, score, data, queries):
    scores = ratings.in_blocks(score, queries.user, queries.item)
    squared = jnp.where(queries.mask, (scores - queries.gain) ** 2, 0.0)
    return jnp.sqrt(jnp.sum(squared) / jnp.sum(queries.mask)), scores


@pytest.fixture(
  scope='module',
  params=[
    pytest.param(name, marks=pytest.mark.optimised if name in OPTIMISED else ())
    for name in NAMES
  ],
)
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
    measure=Error(),
    **options,
  )


@functools.cache
def trained(name):
  return fit(name)


def stacked(trees):
  return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def other(name):
  """The default hyper-parameters with another value for the first of them."""
  hyper = load(name).Hyper()
  if not hyper:
    return hyper
  return hyper._replace(**{hyper._fields[0]: 0.5 * hyper[0] or 0.1})


@functools.cache
def scorer(name):
  """`(state, data) -> [U, T]` scores of all items for all users, compiled."""
  sizes = helpers.small().sizes
  items = np.tile(np.arange(sizes.target), (sizes.users, 1))
  predict = load(name).model(sizes).predict
  return jax.jit(lambda state, data: predict(state, data)(np.arange(len(items)), items))


def assert_ends_as(name, member, ends, alone, split=0):
  """Asserts that a member ends as its run alone: the same error, the same scores."""
  score, data = scorer(name), helpers.small(split=split).data
  chex.assert_trees_all_close(
    score(ends.best_of(member), data), score(alone.best_of(), data), atol=1e-4
  )
  np.testing.assert_allclose(ends.best_value[member], alone.best_value[0], rtol=1e-4)


def test_a_sweep_equals_its_runs(name):
  hypers = load(name).Hyper(), other(name)
  if not hypers[0]:
    pytest.skip(f'{name} has no hyper-parameter')
  swept = fit(name, stacked(hypers))
  for member, hyper in enumerate(hypers):
    assert_ends_as(name, member, swept, fit(name, hyper))


def test_seeds_at_once_equal_each_alone(name):
  splits = helpers.small(), helpers.small(split=1)
  both = loop.fit(
    load(name).model(splits[0].sizes),
    jax.vmap(jax.random.key)(jnp.arange(2)),
    device.stack([each.data for each in splits]),
    stacked([load(name).Hyper()] * 2),
    epochs=EPOCHS,
    valid=stacked([each.valid for each in splits]),
    measure=Error(),
  )
  for seed in range(2):
    assert_ends_as(name, seed, both, fit(name, seed=seed, split=seed), seed)


def test_a_new_value_does_not_compile_again(name):
  trained(name)
  before = loop.run_epoch._cache_size()
  fit(name, other(name))
  assert loop.run_epoch._cache_size() == before


def test_the_seed_decides(name):
  chex.assert_trees_all_equal(fit(name), trained(name))


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
  chex.assert_trees_all_equal(restored, trained(name))


def test_a_run_that_goes_on_ends_as_the_unbroken_one(name):
  stands = []
  fit(name, watch=lambda report, at: stands.append(jax.device_get(at)))
  for at in stands[:-1]:
    progress = jax.tree.map(jnp.asarray, at)._replace(stage=at.stage, epoch=at.epoch)
    chex.assert_trees_all_equal(fit(name, progress=progress), trained(name))
