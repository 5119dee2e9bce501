"""The number of members of a sweep that are trained at once, by memory."""

import functools
import pathlib
import re
from typing import Any

import jax
from jax.extend import core

from xdomain import base
from xdomain.base import Tree
from xdomain.training import loop, placement

SMALL = 2**21  # bytes of a member's state


def at_once(size: int, own_data: bool) -> bool:
  """Whether members train faster together than one after another.

  They do on accelerators. On two CPU cores 16 runs that share batches took .12 to
  .67 of the time by vmap where a member has up to 1.5 MB, 1.20 to 1.29 from 5 MB
  on, and runs of several seeds .53 to 1.79 (results/benchmarks/sweep.md); vmap
  also continues members that have stopped early.

  Args:
    size: bytes of a member's state.
    own_data: whether each member has its own key and data.
  """
  return jax.default_backend() != 'cpu' or (size <= SMALL and not own_data)


def width(
  model: base.Model,
  key: base.Array,
  data: base.Arrays,
  hyper: Any,
  valid: Any = None,
  measure: loop.Measure | None = None,
  *,
  own: Tree = None,
  free: int | None = None,
) -> int:
  """The number of members to train at once, on all devices together.

  One on each device where that is faster (`at_once`), else as many as fit. A member
  takes its state, its best state, the final states of earlier stages, a gradient,
  the largest array that an epoch or a validation makes on the way, and its own data.

  Args:
    model, key, data, hyper, valid, measure: as for `loop.fit` of one member.
    own: the data that belongs to a member alone; None where all is shared.
    free: bytes that each device may use; half of the free ones by default.

  Returns:
    At least 1 for each device.
  """
  free = free_bytes() if free is None else free
  begins = [
    loop.abstract(model, key, data, hyper, index) for index in range(len(model.stages))
  ]
  devices = jax.local_device_count()
  if not all(at_once(placement.size(each.state), own is not None) for each in begins):
    return devices
  most = max(
    _bytes(stage, progress, key, data, hyper, valid, measure)
    for stage, progress in zip(model.stages, begins)
  )
  return max(1, free // (most + placement.size(own))) * devices


def _bytes(stage, progress, key, data, hyper, valid, measure):
  """The bytes of a member in a stage."""
  plan, state, at = placement.plan(key, hyper), progress.state, (0, 1)
  epoch = functools.partial(loop.run_epoch, plan, stage)
  programs = [jax.make_jaxpr(epoch)(state, key, at, data, plan.per_member(hyper))]
  if queries := loop.validated(stage, valid):
    validation = functools.partial(loop.validate, plan, stage, measure)
    programs.append(jax.make_jaxpr(validation)(progress.best, data, queries))
  gradient = getattr(state, 'params', state)
  kept = state, progress.best, progress.done, gradient
  on_the_way = max(largest(program.jaxpr) for program in programs)
  return placement.size(kept) + on_the_way


def largest(jaxpr: Any) -> int:
  """The bytes of the largest array that a program makes."""
  arrays = [v.aval for equation in jaxpr.eqns for v in equation.outvars]
  inner = map(largest, core.subjaxprs(jaxpr))
  return max((*map(placement.size, arrays), *inner), default=0)


def fits(count: int, width: int) -> bool:
  """Whether no device holds more than its share of `width` members."""
  return count * jax.local_device_count() <= width * placement.spread(count)


def chunks(count: int, width: int) -> list[slice]:
  """Turns of at most `width` members, each spread over as many devices as it can.

  A turn is a multiple of the devices, or smaller than their number: so no device
  holds more than its share of `width`.
  """
  devices, begin, turns = jax.local_device_count(), 0, []
  while begin < count:
    take = min(width, count - begin)
    take -= take % devices if take > devices else 0
    turns.append(slice(begin, begin + take))
    begin += take
  return turns


def free_bytes() -> int:
  """The bytes that a sweep may use on each device: half of the free ones."""
  devices = jax.local_devices()
  memory = devices[0].memory_stats()
  if memory and 'bytes_limit' in memory:
    return (memory['bytes_limit'] - memory['bytes_in_use']) // 2
  return _host_memory() // 2 // len(devices)


def _host_memory():
  try:
    text = pathlib.Path('/proc/meminfo').read_text()
  except OSError:
    return 8 * 2**30  # A guess: only Linux reports it.
  return 1024 * int(re.findall(r'MemAvailable: +(\d+)', text)[0])
