"""How the members of a sweep are run: in which form, and on which devices.

Trees of a sweep have leaves `[W, ...]`, a row a member; a single run's have
none. Where there are several devices, the members are spread over as many of
them as divide W, and each device runs its own.
"""

import math
import pathlib
import re

import jax
import jax.numpy as jnp
from jax.extend import core
from jax.sharding import AxisType, NamedSharding, PartitionSpec

EACH, ALL = PartitionSpec('runs'), PartitionSpec()


def shape(tree):
  """`[]` or `[W]`, of leaves that are so shaped; `[]` of no leaves."""
  leaves = jax.tree.leaves(tree)
  return jnp.shape(leaves[0]) if leaves else ()


def size(tree) -> int:
  """The bytes of a tree of arrays, or of their shapes."""
  leaves = jax.tree.leaves(tree)
  return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def largest(jaxpr) -> int:
  """The bytes of the largest array that a program makes."""
  arrays = [v.aval for equation in jaxpr.eqns for v in equation.outvars]
  inner = map(largest, core.subjaxprs(jaxpr))
  return max((*map(size, arrays), *inner), default=0)


SMALL = 2**21  # bytes


def at_once(size: int, apart: bool) -> bool:
  """Whether members are faster together than in turn.

  They are on accelerators. On two CPU cores 16 runs that share batches took .12
  to .67 of the time by vmap where a member has up to 1.5 MB, 1.20 to 1.29 from
  5 MB on, and runs of other seeds .53 to 1.79 (results/benchmarks/sweep.md);
  vmap goes on with those that have stopped early.

  Args:
    size: bytes of a member's state.
    apart: whether each has a key and data of its own.
  """
  return jax.default_backend() != 'cpu' or (size <= SMALL and not apart)


def across(members, state, apart=False):
  """How members are run, a tree of `[]` or `[W]`: 'single', 'vmap' or 'map'.

  Args:
    members: their hyper-parameters, or anything there is one of for each.
    state: of all of them.
    apart: as of `at_once`.
  """
  if shape(members) == ():
    return 'single'
  of_one = size(state) // shape(members)[0]
  return 'vmap' if at_once(of_one, apart) else 'map'


def each(function, across, mapped, shared):
  """`function(*mapped, *shared)`, or that for each member of a sweep.

  Args:
    function: of one member; on several devices it may close over no array.
    across: 'single', 'vmap' or 'map'.
    mapped: trees whose leaves lead with `[W]`, unless `across` is 'single'.
    shared: trees that are the same for all.
  """
  if across == 'single':
    return function(*mapped, *shared)

  def together(mapped, shared):
    def one(member):
      return function(*member, *shared)

    if across == 'vmap':
      return jax.vmap(one)(mapped)
    return jax.lax.map(one, mapped)

  mesh = _mesh(shape(mapped)[:1])
  if mesh is not None:
    together = jax.shard_map(
      together,
      mesh=mesh,
      in_specs=(EACH, ALL),
      out_specs=EACH,
      check_vma=False,
    )
  return together(mapped, shared)


def _mesh(shape):
  """The devices that `[]` or `[W]` members are spread over; None for one."""
  n = _spread(shape)
  if n == 1:
    return None
  return jax.make_mesh(
    (n,),
    ('runs',),
    axis_types=(AxisType.Auto,),
    devices=jax.local_devices()[:n],
  )


def _spread(shape):
  """Over how many devices `[]` or `[W]` members are spread."""
  devices, width = len(jax.local_devices()), math.prod(shape)
  return max(n for n in range(1, devices + 1) if width % n == 0)


def place(members, tree, apart=False):
  """The tree, where the members are.

  Args:
    members: as of `across`.
    tree: what all of them see.
    apart: whether it leads with `[W]` instead, a row a member.
  """
  mesh = _mesh(shape(members))
  if mesh is None:
    return jax.device_put(tree) if apart else tree
  return jax.device_put(tree, NamedSharding(mesh, EACH if apart else ALL))


def sharding(members):
  """Where what leads with `[W]` is kept."""
  mesh = _mesh(shape(members))
  if mesh is None:
    return jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  return NamedSharding(mesh, EACH)


def fits(count: int, width: int) -> bool:
  """Whether no device holds more than its share of `width` members."""
  return count * jax.local_device_count() <= width * _spread((count,))


def chunks(count, width) -> list[slice]:
  """Members in turns of at most `width`, each spread over all devices it can.

  A turn is a multiple of the devices, or smaller than their number: so no
  device holds more than its share of `width`.
  """
  devices, begin, turns = jax.local_device_count(), 0, []
  while begin < count:
    take = min(width, count - begin)
    take -= take % devices if take > devices else 0
    turns.append(slice(begin, begin + take))
    begin += take
  return turns


def free() -> int:
  """The bytes that a sweep may take on each device: half of what is free."""
  devices = jax.local_devices()
  memory = devices[0].memory_stats()
  if memory and 'bytes_limit' in memory:
    return (memory['bytes_limit'] - memory['bytes_in_use']) // 2
  return _host_memory() // 2 // len(devices)


def _host_memory():
  try:
    text = pathlib.Path('/proc/meminfo').read_text()
  except OSError:
    return 8 * 2**30  # A guess: only Linux says.
  return 1024 * int(re.search(r'MemAvailable: +(\d+)', text)[1])
