from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest

from tests import helpers
from xdomain import base, stages
from xdomain.runs import memory
from xdomain.training import placement

LINE = 100  # parameters of `straight`


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
  return memory.width(straight(**settings), *arguments, own=own, free=free)


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
  monkeypatch.setattr(memory, 'SMALL', 0)
  assert width(2**40) == jax.local_device_count()


def test_some_memory_is_free_and_not_all_of_it():
  assert 2**20 < memory.free_bytes() < 2**50


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
  turns = memory.chunks(count, width)
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
  monkeypatch.setattr(jax, 'devices', lambda: [None] * devices)
  monkeypatch.setattr(jax, 'local_device_count', lambda: devices)
  assert memory.fits(count, width) == fits


@pytest.mark.parametrize(
  'backend, size, own_data, faster',
  [
    ('cpu', memory.SMALL, False, True),
    ('cpu', memory.SMALL, True, False),
    ('cpu', memory.SMALL + 1, False, False),
    ('gpu', memory.SMALL + 1, True, True),
  ],
)
def test_small_members_that_share_batches_gain_on_a_cpu(
  backend, size, own_data, faster, monkeypatch
):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  assert memory.at_once(size, own_data) == faster
