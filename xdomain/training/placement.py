"""How the members of a sweep are run, and on which devices.

Trees of a sweep have leaves `[W, ...]`, a row for each member; those of a single
run have no such axis. With several devices, members are spread over as many of
them as divide W, and each device trains its own.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from xdomain.base import Array, Tree

EACH, ALL = PartitionSpec('runs'), PartitionSpec()
SMALL = 2**21  # bytes of a member's state


def shape(members: Tree) -> tuple[int, ...]:
  """`()` or `(W,)`, from leaves of that shape; `()` without leaves."""
  leaves = jax.tree.leaves(members)
  return jnp.shape(leaves[0]) if leaves else ()


def size(tree: Tree) -> int:
  """The bytes of a tree of arrays, or of their shapes."""
  leaves = jax.tree.leaves(tree)
  return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def at_once(size: int, own_data: bool) -> bool:
  """Whether members train faster together than in turn.

  They do on accelerators. On two CPU cores 16 runs that share batches took .12 to
  .67 of the time by vmap where a member has up to 1.5 MB, 1.20 to 1.29 from 5 MB
  on, and runs of several seeds .53 to 1.79 (results/benchmarks/sweep.md); vmap
  also continues members that have stopped early.

  Args:
    size: bytes of a member's state.
    own_data: whether each member has its own key and data.
  """
  return jax.default_backend() != 'cpu' or (size <= SMALL and not own_data)


def alone(function: Callable) -> Callable:
  """The function itself, for a run without a member axis."""
  return function


def in_turn(function: Callable) -> Callable:
  """The function mapped over members, one after another."""
  return lambda members: jax.lax.map(function, members)


def over(members: Tree, state: Tree, key: Array) -> Callable:
  """How a function of one member is applied: `alone`, `jax.vmap` or `in_turn`.

  Args:
    members: a tree of leaves `[]` or `[W]`.
    state: of all members.
    key: one for all members, or `[W]` where each has its own data too.
  """
  if shape(members) == ():
    return alone
  of_one = size(state) // shape(members)[0]
  return jax.vmap if at_once(of_one, key.ndim > 0) else in_turn


def each(function: Callable, over: Callable, own: tuple, shared: tuple) -> Tree:
  """`function(*own, *shared)` of each member.

  Args:
    function: of one member; on several devices it may close over no array.
    over: as from the function `over`.
    own: trees whose leaves lead with `[W]`, unless `over` is `alone`.
    shared: trees that are the same for all members.
  """

  def mapped(own, shared):
    return over(lambda member: function(*member, *shared))(own)

  mesh = None if over is alone else _mesh(shape(own)[:1])
  if mesh is not None:
    mapped = jax.shard_map(
      mapped,
      mesh=mesh,
      in_specs=(EACH, ALL),
      out_specs=EACH,
      check_vma=False,
    )
  return mapped(own, shared)


def _mesh(shape):
  """The devices that `[]` or `[W]` members are spread over; None for one."""
  n = spread(shape)
  if n == 1:
    return None
  return jax.make_mesh(
    (n,),
    ('runs',),
    axis_types=(AxisType.Auto,),
    devices=jax.local_devices()[:n],
  )


def spread(shape: tuple[int, ...]) -> int:
  """The number of devices that `[]` or `[W]` members are spread over."""
  devices, width = len(jax.local_devices()), math.prod(shape)
  return max(n for n in range(1, devices + 1) if width % n == 0)


def place(members: Tree, tree: Tree, own: bool) -> Tree:
  """The tree on the devices of the members.

  Args:
    members: a tree of leaves `[]` or `[W]`.
    tree: read by all members.
    own: whether the tree leads with `[W]`, a row for each member, instead.
  """
  mesh = _mesh(shape(members))
  if mesh is None:
    return jax.device_put(tree) if own else tree
  return jax.device_put(tree, NamedSharding(mesh, EACH if own else ALL))


def sharding(members: Tree) -> jax.sharding.Sharding:
  """The sharding of arrays that lead with `[W]`."""
  mesh = _mesh(shape(members))
  if mesh is None:
    return jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  return NamedSharding(mesh, EACH)
