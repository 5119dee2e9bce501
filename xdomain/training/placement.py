"""Where the members of a run are, and how a program is applied to all of them.

A run trains `W` members at once: the hyper-parameters of a sweep, several seeds, or
one. Trees that belong to members lead with `[W]`. Members are spread over as many
local devices as divide W, and each device trains its own.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from xdomain.base import Array, Tree

EACH, ALL = PartitionSpec('runs'), PartitionSpec()


class Plan(NamedTuple):
  """How members are spread; a static argument of the programs."""

  width: int  # W
  own_data: bool  # whether keys, data and queries lead with `[W]` or are shared
  devices: int  # that the members are spread over

  def mesh(self) -> Mesh | None:
    """The devices of the members; None for a single one."""
    if self.devices == 1:
      return None
    devices = jax.local_devices()[: self.devices]
    axis = (AxisType.Auto,)
    return jax.make_mesh((self.devices,), ('runs',), axis_types=axis, devices=devices)

  def sharding(self) -> jax.sharding.Sharding:
    """The sharding of arrays that lead with `[W]`."""
    mesh = self.mesh()
    if mesh is None:
      return jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return NamedSharding(mesh, EACH)

  def place(self, given: Tree) -> Tree:
    """Keys, data and queries on the devices of the members."""
    mesh = self.mesh()
    spec = EACH if self.own_data else ALL
    return jax.device_put(given, mesh and NamedSharding(mesh, spec))

  def per_member(self, hyper: Any) -> Any:
    """Hyper-parameters with leaves `[W]`; a value for all members is repeated."""
    return jax.tree.map(
      lambda leaf: np.broadcast_to(np.asarray(leaf, jnp.result_type(leaf)), self.width),
      hyper,
    )


SINGLE = Plan(width=1, own_data=False, devices=1)


def plan(key: Array, hyper: Any) -> Plan:
  """The plan of as many members as keys and hyper-parameters are given for.

  Args:
    key: one for all members, or `[W]` where each has its own data as well.
    hyper: leaves `[]`, or `[W]`.
  """
  (width,) = np.broadcast_shapes(
    (1,), key.shape, *map(jnp.shape, jax.tree.leaves(hyper))
  )
  return Plan(width, key.ndim > 0, spread(width))


def spread(width: int) -> int:
  """The number of local devices that so many members are spread over."""
  return max(n for n in range(1, len(jax.local_devices()) + 1) if width % n == 0)


def each(plan: Plan, function: Callable, own: tuple, given: tuple) -> Tree:
  """`function(*own, *given)` of each member; the leaves of the result lead with `[W]`.

  Args:
    plan: of the members.
    function: of one member, without a member axis; it closes over no array.
    own: trees that lead with `[W]`.
    given: trees that lead with `[W]` where `plan.own_data`, and are shared otherwise.
  """
  own, shared = ((*own, *given), ()) if plan.own_data else (own, given)

  def mapped(own, shared):
    def member(own):
      return function(*own, *shared)

    # A batch of one would be compiled to other, slower kernels than no batch.
    at_once = jax.vmap if plan.width > plan.devices else _alone
    return at_once(member)(own)

  if mesh := plan.mesh():
    mapped = jax.shard_map(
      mapped, mesh=mesh, in_specs=(EACH, ALL), out_specs=EACH, check_vma=False
    )
  return mapped(own, shared)


def _alone(function):
  """As `jax.vmap(function)`, of a single member."""

  def of_one(own):
    value = function(jax.tree.map(lambda leaf: jnp.squeeze(leaf, 0), own))
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], value)

  return of_one


def size(tree: Tree) -> int:
  """The bytes of a tree of arrays, or of their shapes."""
  leaves = jax.tree.leaves(tree)
  return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)
