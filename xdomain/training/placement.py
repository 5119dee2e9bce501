"""Places the members of a run on devices and applies a program to all of them.

A run trains `W` members at once: the hyper-parameters of a sweep, several seeds, or
one. Trees that belong to members lead with `[W]`. Members are spread over as many
local devices as divide W, and each device trains its own.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from xdomain import base, shards
from xdomain.base import Array, Arrays, Tree

EACH, ALL = PartitionSpec(shards.RUNS), PartitionSpec()


class Plan(NamedTuple):
  """The spread of members over devices; a static argument of the programs."""

  width: int  # W
  own_data: bool  # whether keys, data and queries lead with `[W]` or are shared
  runs: int  # devices that the members are spread over
  axes: shards.Axes  # devices of each member
  lengths: frozenset[int]  # rows of the tables that are in shards

  def mesh(self) -> Mesh | None:
    """The devices of the members; None for a single one."""
    shape = self.runs, self.axes.data, self.axes.rows
    return None if math.prod(shape) == 1 else mesh(shape, jax.devices())

  def sharding(self, tree: Tree) -> Tree:
    """The sharding of each leaf of a tree of members, whose leaves lead with `[W]`."""
    mesh = self.mesh()

    def of(node):
      if mesh is None:
        return jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
      if isinstance(node, shards.Shards):
        spec = PartitionSpec(shards.RUNS, shards.ROWS)
        return dataclasses.replace(node, array=NamedSharding(mesh, spec))
      return NamedSharding(mesh, EACH)

    return jax.tree.map(of, tree, is_leaf=lambda x: isinstance(x, shards.Shards))

  def place(self, given: Tree) -> Tree:
    """Keys, data and queries on the devices of the members."""
    mesh = self.mesh()
    if mesh is None:
      return jax.device_put(given)
    return _on_mesh(given, mesh, EACH if self.own_data else ALL)

  def per_member(self, hyper: Any) -> Any:
    """Hyper-parameters with leaves `[W]`; a value for all members is repeated."""
    return jax.tree.map(
      lambda leaf: np.broadcast_to(np.asarray(leaf, jnp.result_type(leaf)), self.width),
      hyper,
    )


def beside(state: Tree, given: Tree) -> Tree:
  """Data where a state is: if it is in shards, each device has a share of the data."""
  if not shards.any_of(state):
    return jax.device_put(given)
  return _on_mesh(given, shards.mesh_of(state), ALL)


def _on_mesh(given, mesh, before):
  """Data on a mesh; `before` is the axis of members that it leads with."""
  sharding = NamedSharding(mesh, before)
  several = mesh.size > mesh.shape[shards.RUNS]

  def of(node):
    if isinstance(node, base.Rows) and several:
      return _divided(node, mesh, before)
    if sharding.is_fully_addressable:
      return jax.device_put(node, sharding)
    # Of the devices of several hosts: every host has the same values.
    return jax.jit(lambda tree: tree, out_shardings=sharding)(node)

  return jax.tree.map(of, given, is_leaf=lambda node: isinstance(node, base.Rows))


def _divided(rows, mesh, before):
  """A matrix on a mesh: each device of a member has an equal share of its entries."""

  def whole(array):
    sharding = NamedSharding(mesh, before)
    return jax.make_array_from_callback(array.shape, sharding, array.__getitem__)

  def entries(array):
    axis, among = len(before), mesh.shape[shards.DATA] * mesh.shape[shards.ROWS]
    n = array.shape[axis]
    size = n + -n % among

    def share(index):  # Alone, so that the others are not read.
      begin, end, _ = index[axis].indices(size)
      some = array[index]
      lacks = end - begin - some.shape[axis]
      return np.pad(some, [(0, 0)] * axis + [(0, lacks)]) if lacks else some

    spec = PartitionSpec(*before, (shards.DATA, shards.ROWS))
    shape = *array.shape[:axis], size
    placed = jax.make_array_from_callback(shape, NamedSharding(mesh, spec), share)
    return shards.Shards(placed, n)

  names = 'row', 'column', 'value'
  rows = jax.device_get(rows)
  parts = {name: entries(getattr(rows, name)) for name in names}
  rest = dataclasses.replace(rows, **dict.fromkeys(names))
  return dataclasses.replace(jax.tree.map(whole, rest), **parts)


def mesh(shape: tuple[int, int, int], devices: list) -> Mesh:
  """A mesh of the first devices: along members, batches and tables."""
  return jax.make_mesh(
    shape,
    (shards.RUNS, shards.DATA, shards.ROWS),
    axis_types=(AxisType.Auto,) * 3,
    devices=devices[: math.prod(shape)],
  )


SINGLE = Plan(1, False, 1, shards.ONE, frozenset())


def plan(key: Array, hyper: Any, data: Arrays, axes: shards.Axes = shards.ONE) -> Plan:
  """The plan of as many members as keys and hyper-parameters are given for.

  Args:
    key: one for all members, or `[W]` where each has its own data as well.
    hyper: leaves `[]`, or `[W]`.
    data: the training data.
    axes: devices of each member.
  """
  (width,) = np.broadcast_shapes(
    (1,), key.shape, *map(jnp.shape, jax.tree.leaves(hyper))
  )
  found = lengths(data) if axes.rows > 1 else frozenset()
  return Plan(width, key.ndim > 0, spread(width, math.prod(axes)), axes, found)


def lengths(data: Arrays) -> frozenset[int]:
  """The numbers of users and of items: a table has a row for each."""
  rows = [each.by_user for each in (*data.sources, data.target)]
  return frozenset({rows[0].order.shape[-1], *(each.n_columns for each in rows)})


def spread(width: int, of_one: int = 1) -> int:
  """The devices that members are spread over, where each takes `of_one` of them."""
  most = max(1, len(jax.devices()) // of_one)
  return max(n for n in range(1, most + 1) if width % n == 0)


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
      result = function(*shards.whole(own), *shards.whole(shared))
      return shards.cut(result, plan.axes.rows, plan.lengths)

    # A batch of one would be compiled to other, slower kernels than no batch.
    at_once = jax.vmap if plan.width > plan.runs else _alone
    return at_once(member)(own)

  if mesh := plan.mesh():
    mapped = jax.shard_map(
      mapped,
      mesh=mesh,
      axis_names={shards.RUNS},
      in_specs=(EACH, ALL),
      out_specs=EACH,
      check_vma=False,
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
