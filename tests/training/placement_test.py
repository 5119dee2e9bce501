import os
import subprocess
import sys
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain.data import device
from xdomain.models import autorec
from xdomain.training import checkpoint, loop, placement

on_devices = pytest.mark.skipif(
  jax.local_device_count() != 4, reason='run by the test of four devices'
)


class Hyper(NamedTuple):
  lr: float = 0.1


@pytest.mark.parametrize(
  'keys, hyper, width, own_data',
  [
    ((), (), 1, False),
    ((), Hyper(0.1), 1, False),
    ((), Hyper(np.array([0.1, 0.2])), 2, False),
    ((3,), Hyper(0.1), 3, True),
  ],
)
def test_members_are_counted_from_keys_and_hyper_parameters(
  keys, hyper, width, own_data
):
  keys = jax.random.split(jax.random.key(0), keys)
  plan = placement.plan(keys, hyper, helpers.small().data)
  assert plan[:2] == (width, own_data)
  chex.assert_tree_shape_prefix(plan.per_member(hyper), (width,))


def test_a_single_member_is_not_a_batch_of_one():
  plan = placement.plan(jax.random.key(0), (), helpers.small().data)

  def product(left, right):
    chex.assert_shape([left, right], (3, 3))
    return left @ right

  left, right = jnp.eye(3), jnp.arange(9.0).reshape(3, 3)
  program = jax.jit(lambda *args: placement.each(plan, product, *args))
  text = program.lower((left[None],), (right,)).as_text()
  (line,) = (line for line in text.splitlines() if 'dot_general' in line)
  assert 'batching_dims' not in line
  np.testing.assert_array_equal(program((left[None],), (right,)), right[None])


def model():
  return autorec.model(helpers.small().sizes, embed=4, batch=16)


def hypers(count):
  rates = jnp.linspace(0.5, 2, count)
  return jax.tree.map(lambda value: value * rates, autorec.Hyper())


def fit(hyper, **options):
  small = helpers.small()
  return loop.fit(
    model(),
    jax.random.key(0),
    small.data,
    hyper,
    epochs=2,
    valid=small.valid,
    measure=small.measure,
    **options,
  )


def keys(count):
  return jax.vmap(jax.random.key)(jnp.arange(count))


def devices_of(tree):
  return {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(tree)}


def each(tree, count):
  return [
    jax.tree.map(lambda leaf, index=index: leaf[index], tree) for index in range(count)
  ]


def same(one, two, **tolerance):
  assert jax.tree.structure(one) == jax.tree.structure(two)
  for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two)):
    np.testing.assert_allclose(a, b, **tolerance)


@on_devices
@pytest.mark.parametrize('count, spread', [(4, 4), (3, 3), (6, 3)])
def test_a_sweep_over_devices_equals_its_runs(count, spread):
  runs = [fit(hyper) for hyper in each(hypers(count), count)]
  swept = fit(hypers(count))
  assert devices_of((swept.state, swept.best)) == {spread}
  for one, run in zip(each(swept.best, count), runs):
    same(one, run.best_of(), atol=1e-5)


@on_devices
def test_seeds_over_devices_equal_their_runs():
  splits = [helpers.small(split=split) for split in range(4)]
  runs = [
    loop.fit(
      model(),
      jax.random.key(seed),
      split.data,
      autorec.Hyper(),
      epochs=2,
      valid=split.valid,
      measure=split.measure,
    )
    for seed, split in enumerate(splits)
  ]
  valid = jax.tree.map(lambda *x: jnp.stack(x), *(s.valid for s in splits))
  hyper = jax.tree.map(lambda value: jnp.full(4, value), autorec.Hyper())
  swept = loop.fit(
    model(),
    keys(4),
    device.stack([split.data for split in splits]),
    hyper,
    epochs=2,
    valid=valid,
    measure=splits[0].measure,
  )
  assert devices_of((swept.state, swept.best)) == {4}
  for one, run in zip(each(swept.best, 4), runs):
    same(one, run.best_of(), atol=1e-5)


@on_devices
def test_what_is_spread_is_saved_and_goes_on_to_the_same_end(tmp_path):
  end = saved(tmp_path)
  restored = restore(tmp_path)
  assert devices_of(restored.state) == {4}
  same(fit(hypers(4), progress=restored), end, rtol=0)


@on_devices
def test_a_sweep_goes_on_where_there_are_fewer_devices(tmp_path, monkeypatch):
  end = saved(tmp_path)
  few = jax.local_devices()[:2]
  monkeypatch.setattr(jax, 'devices', lambda: few)
  jax.clear_caches()
  restored = restore(tmp_path)
  assert devices_of(restored.state) == {2}
  same(fit(hypers(4), progress=restored), end, atol=1e-5)


def saved(folder):
  """Where a sweep of 4 ends that is saved after its first epoch."""

  def save(report, progress):
    if progress.epoch == 1:
      checkpoint.save(folder / 'c', progress, {})

  return fit(hypers(4), watch=save)


def restore(folder):
  arguments = jax.random.key(0), helpers.small().data, hypers(4)
  return checkpoint.restore(folder / 'c', {}, model(), *arguments)


@pytest.mark.skipif(jax.local_device_count() == 4, reason='it would not end')
@pytest.mark.matrix
def test_sweeps_on_four_devices():
  settings = {
    'JAX_PLATFORMS': 'cpu',
    'XLA_FLAGS': ' '.join(
      [os.environ.get('XLA_FLAGS', ''), '--xla_force_host_platform_device_count=4']
    ),
  }
  run = subprocess.run(
    [
      sys.executable,
      '-m',
      'pytest',
      '-q',
      '-p',
      'no:xdist',
      '--override-ini=addopts=',
      '-k',
      'over_devices or goes_on',
      __file__,
    ],
    env=os.environ | settings,
    capture_output=True,
    text=True,
  )
  assert run.returncode == 0, run.stdout
  assert 'skipped' not in run.stdout
