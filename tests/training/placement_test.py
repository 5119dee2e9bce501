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
from xdomain import base, stages
from xdomain.data import device
from xdomain.models import autorec
from xdomain.training import checkpoint, loop, placement, sweep

LINE = 100  # parameters of `straight`
on_devices = pytest.mark.skipif(
  jax.local_device_count() != 4, reason='run by the test of four devices'
)


class Hyper(NamedTuple):
  lr: float = 0.1


def straight(outer=False, scores=None):
  """Two stages under Adam that make 3 or `LINE` squared numbers a step.

  With `scores`, so many are made on the way to a prediction.
  """

  def init(key, data, hyper, previous):
    del key, data, hyper, previous
    return jnp.ones(LINE), ()

  def loss(params, frozen, visit, data, key, hyper):
    del frozen, visit, data, key, hyper
    if outer:
      return jnp.sum(params[:, None] * params), {}
    return jnp.sum(params), {}

  def predict(state, data):
    del data
    sum_of_all = jnp.sum(jnp.full(scores, state.params[0]))
    return lambda users, items: jnp.full(items.shape, sum_of_all)

  stage = stages.gradient_stage(
    init, loss, lambda key, data: jnp.zeros((3,)), predict=scores and predict
  )
  return base.Model((stage, stage), None)


def width(free, own=None, valid=(), **settings):
  arguments = jax.random.key(0), helpers.small().data, Hyper(), *valid
  return sweep.width(straight(**settings), *arguments, own=own, free=free)


def test_as_many_members_as_fit_are_counted_by_hand():
  # Of the second stage: parameters, two moments and Adam's count; the best of
  # both stages; a gradient; and the largest array, which is one of these.
  each = 4 * (3 * LINE + 1 + 2 * LINE + LINE + LINE)
  devices = jax.local_device_count()
  assert width(10 * each) == 10 * devices
  assert width(10 * each - 1) == 9 * devices
  assert width(0) == devices


def test_the_largest_array_of_a_step_is_counted():
  each = 4 * (3 * LINE + 1 + 2 * LINE + LINE + LINE**2)
  assert width(2 * each, outer=True) == 2 * jax.local_device_count()
  assert width(2 * each - 1, outer=True) == jax.local_device_count()


def test_the_largest_array_of_a_validation_is_counted():
  each = 4 * (3 * LINE + 1 + 2 * LINE + LINE + 70 * LINE)
  small, scores = helpers.small(), 70 * LINE
  valid = small.valid, small.measure
  devices = jax.local_device_count()
  assert small.valid.target.item.size < scores
  assert width(2 * each, valid=valid, scores=scores) == 2 * devices
  assert width(2 * each - 1, valid=valid, scores=scores) == devices
  assert width(2 * each - 1, scores=scores) > 2 * devices


def test_data_that_each_member_has_is_counted(monkeypatch):
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  data = helpers.small().data
  each = 4 * (3 * LINE + 1 + 2 * LINE + LINE + LINE) + placement.size(data)
  devices = jax.local_device_count()
  assert width(3 * each, own=data) == 3 * devices
  assert width(3 * each - 1, own=data) == 2 * devices


def test_runs_of_other_seeds_are_trained_in_turn_on_a_cpu():
  assert width(2**40, own=()) == jax.local_device_count()


def test_members_too_large_to_gain_are_trained_one_at_a_time(monkeypatch):
  monkeypatch.setattr(sweep, 'SMALL', 0)
  assert width(2**40) == jax.local_device_count()


def test_some_memory_is_free_and_not_all_of_it():
  assert 2**20 < sweep.free_bytes() < 2**50


@pytest.mark.parametrize(
  'devices, count, width, sizes',
  [
    (1, 7, 3, [3, 3, 1]),
    (1, 3, 8, [3]),
    (4, 7, 8, [4, 3]),
    (4, 13, 8, [8, 4, 1]),
    (4, 8, 8, [8]),
  ],
)
def test_no_device_holds_more_than_its_share(devices, count, width, sizes, monkeypatch):
  monkeypatch.setattr(jax, 'local_device_count', lambda: devices)
  turns = sweep.chunks(count, width)
  assert [turn.stop - turn.start for turn in turns] == sizes
  every = [index for turn in turns for index in range(count)[turn]]
  assert every == list(range(count))


@pytest.mark.parametrize(
  'devices, count, width, fits',
  [
    (1, 7, 7, True),
    (1, 8, 7, False),
    (4, 8, 8, True),
    (4, 12, 8, False),
    (4, 6, 8, True),  # Three devices with two each.
    (4, 10, 12, False),  # Two devices with five each, where three fit.
  ],
)
def test_members_fit_where_no_device_holds_more_than_its_share(
  devices, count, width, fits, monkeypatch
):
  monkeypatch.setattr(jax, 'local_devices', lambda: [None] * devices)
  monkeypatch.setattr(jax, 'local_device_count', lambda: devices)
  assert sweep.fits(count, width) == fits


@pytest.mark.parametrize(
  'backend, size, own_data, faster',
  [
    ('cpu', sweep.SMALL, False, True),
    ('cpu', sweep.SMALL, True, False),
    ('cpu', sweep.SMALL + 1, False, False),
    ('gpu', sweep.SMALL + 1, True, True),
  ],
)
def test_small_members_that_share_batches_gain_on_a_cpu(
  backend, size, own_data, faster, monkeypatch
):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  assert sweep.at_once(size, own_data) == faster


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
  plan = placement.plan(jax.random.split(jax.random.key(0), keys), hyper)
  assert plan[:2] == (width, own_data)
  chex.assert_tree_shape_prefix(plan.per_member(hyper), (width,))


def test_a_single_member_is_not_a_batch_of_one():
  plan = placement.plan(jax.random.key(0), ())

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
  monkeypatch.setattr(jax, 'local_devices', lambda: few)
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
