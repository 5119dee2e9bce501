"""The memory that training takes, and the members of a sweep that fit in it at once."""

import functools
import pathlib
import re
from typing import Any, NamedTuple

import jax
from jax.extend import core

from xdomain import base, shards
from xdomain.base import Tree
from xdomain.training import loop, placement

SMALL = 2**21  # bytes of a member's state


class Need(NamedTuple):
  """Bytes that one member takes."""

  tables: int  # of arrays with a row, or a column, for each user or item
  rest: int

  def on(self, axes: shards.Axes) -> int:
    """The bytes on each device of a mesh."""
    return -(-self.tables // axes.rows) + self.rest


def of_member(
  model: base.Model,
  key: base.Array,
  data: base.Arrays,
  hyper: Any,
  valid: Any = None,
  measure: loop.Measure | None = None,
) -> Need:
  """The need of one member in the stage that takes most.

  That is its state, its best state, the final states of earlier stages, a gradient, and
  the largest array that an epoch or a validation makes on the way.

  Args:
    model, key, data, hyper, valid, measure: as for `loop.fit` of one member.
  """
  needs = []
  for stage, progress in zip(model.stages, loop.shapes(model, key, data, hyper)):
    gradient = getattr(progress.state, 'params', progress.state)
    kept = progress.state, progress.best, progress.done, gradient
    found = jax.tree.leaves(kept)
    found.append(_largest(stage, progress, key, data, hyper, valid, measure))
    tables = [leaf for leaf in found if _is_table(leaf, placement.lengths(data))]
    total = placement.size(tables)
    needs.append(Need(total, placement.size(found) - total))
  return max(needs, key=sum)


def _largest(stage, progress, key, data, hyper, valid, measure):
  """The largest array that the programs of a stage make."""
  plan = placement.plan(key, hyper, data)
  epoch = functools.partial(loop.run_epoch, plan, stage)
  programs = [
    jax.make_jaxpr(epoch)(progress.state, key, (0, 1), data, plan.per_member(hyper))
  ]
  if queries := loop.validated(stage, valid):
    validation = functools.partial(loop.validate, plan, stage, measure)
    programs.append(jax.make_jaxpr(validation)(progress.best, data, queries))
  return max(
    (array for program in programs for array in _arrays(program.jaxpr)),
    key=placement.size,
  )


def _arrays(jaxpr):
  """All arrays that a program makes."""
  for equation in jaxpr.eqns:
    yield from (variable.aval for variable in equation.outvars)
  for inner in core.subjaxprs(jaxpr):
    yield from _arrays(inner)


def _is_table(leaf, lengths):
  return any(axis in lengths for axis in leaf.shape)


def free() -> int:
  """The free bytes of each device; devices of a CPU share those of the host."""
  devices = jax.local_devices()
  memory = devices[0].memory_stats()
  if memory and 'bytes_limit' in memory:
    return memory['bytes_limit'] - memory['bytes_in_use']
  return _of_host() // len(devices)


def _of_host():
  try:
    text = pathlib.Path('/proc/meminfo').read_text()
  except OSError:
    return 8 * 2**30  # A guess: only Linux reports it.
  return 1024 * int(re.findall(r'MemAvailable: +(\d+)', text)[0])


def bytes_text(count: int) -> str:
  """A number of bytes as text with a unit."""
  for unit, name in ((2**30, 'GB'), (2**20, 'MB')):
    if count >= unit:
      return f'{count / unit:.1f} {name}'
  return f'{max(1, round(count / 1024))} kB'


# --- Sweeps -----------------------------------------------------------------


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
  begins = loop.shapes(model, key, data, hyper)
  devices = jax.local_device_count()
  if not all(at_once(placement.size(each.state), own is not None) for each in begins):
    return devices
  most = sum(of_member(model, key, data, hyper, valid, measure))
  return max(1, free // (most + placement.size(own))) * devices


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
  return free() // 2
