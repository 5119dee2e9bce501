"""Tables in shards: rows of users or items spread over the devices of a mesh.

A mesh has three axes. Members of a sweep are spread over `runs`, the rows of a batch
over `data`, and the rows of each table over `rows`. Interactions are spread over both
of the last two, and everything else is replicated.
An array that enters or leaves a program must divide among its devices, so a table of
`n` rows is held as a `Shards`, padded to a multiple of the axis. Programs take the
padding off first (`whole`) and put it back last (`cut`): no model ever sees it, so it
neither scores nor trains. Both are free where the padding is at the end of the last
shards, because the partitioner lays out `n` rows in the same blocks.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

# As in `base`, which imports this file.
Array = jax.Array
Tree = Any
RUNS, DATA, ROWS = 'runs', 'data', 'rows'
BY_ROWS = PartitionSpec(ROWS)
BY_ALL = PartitionSpec((DATA, ROWS))
READ = 1 << 16  # Entries that a device reads at a time, where it reads its share alone.


class Axes(NamedTuple):
  """The devices along the axes of a mesh, but for its members."""

  data: int = 1  # that a batch is split over
  rows: int = 1  # that tables are split over


ONE = Axes()


@functools.partial(
  jax.tree_util.register_dataclass, data_fields=('array',), meta_fields=('n_rows',)
)
@dataclasses.dataclass(frozen=True)
class Shards:
  """A table or a list of entries of `n_rows`, padded with zeros so that they divide."""

  array: Array  # [n_rows + padding, ...], after the axis of members, if it has one
  n_rows: int


# --- Within a program -------------------------------------------------------


def cut(tree: Tree, among: int, lengths: frozenset[int]) -> Tree:
  """The tree with every table as `Shards`; the rest is replicated.

  Args:
    tree: traced within `jax.shard_map` on a mesh.
    among: the number of shards; a single one leaves the tree as it is.
    lengths: the rows of tables.
  """
  if among == 1:
    return tree

  def placed(leaf):
    if not jnp.ndim(leaf) or leaf.shape[0] not in lengths:
      return _constrained(leaf, PartitionSpec())
    table = jnp.pad(_constrained(leaf, BY_ROWS), padding(leaf.shape, among))
    return Shards(_constrained(table, BY_ROWS), leaf.shape[0])

  return jax.tree.map(placed, tree)


def padding(shape: tuple[int, ...], among: int) -> list[tuple[int, int]]:
  """The widths of the padding that lets the rows of a table divide."""
  return [(0, -shape[0] % among), *[(0, 0)] * (len(shape) - 1)]


def whole(tree: Tree) -> Tree:
  """The tree with every table at its own size, still in shards within a program."""

  def table(node):
    return node.array[: node.n_rows] if _is_shards(node) else node

  return jax.tree.map(table, tree, is_leaf=_is_shards)


def split(visits: Tree) -> Tree:
  """The visits of an epoch, `[N, B, ...]`, with each batch split over the mesh."""
  return _over(visits, 1, (DATA, ROWS), (DATA,))


def visited(visit: Tree) -> Tree:
  """A visit of `split`, `[B, ...]`, whose batch is split over `data` alone.

  The devices of a table's shards then see the same rows.
  """
  return _over(visit, 0, (DATA,))


def _over(tree, axis, *choices):
  """The tree with an axis of each leaf over the first choice that divides it."""
  extent = jax.sharding.get_abstract_mesh().shape

  def of(leaf):
    for names in choices:
      among = math.prod(extent[name] for name in names)
      if leaf.ndim > axis and leaf.shape[axis] % among == 0:
        return _constrained(leaf, PartitionSpec(*[None] * axis, names))
    return leaf

  return tree if workers() == 1 else jax.tree.map(of, tree)


def workers() -> int:
  """The devices that share the work on one member in the program that is traced."""
  extent = jax.sharding.get_abstract_mesh().shape
  return extent.get(DATA, 1) * extent.get(ROWS, 1)


def divided(function: Callable, whole: tuple, parts: tuple) -> Tree:
  """`function(*whole, *parts)`, of which each device computes an equal share.

  Args:
    function: of arrays whose leading axis is the same in its arguments and values.
    whole: arguments that every device has.
    parts: trees of `[B, ...]` arrays, where `B` is a multiple of `workers`.
  """
  if workers() == 1:
    return function(*whole, *parts)
  mapped = jax.shard_map(
    lambda whole, parts: function(*whole, *parts),
    axis_names={DATA, ROWS},
    in_specs=(PartitionSpec(), PartitionSpec((DATA, ROWS))),
    out_specs=PartitionSpec((DATA, ROWS)),
    check_vma=False,
  )
  return mapped(whole, parts)


def looked_up(table: Array, ids: Array) -> Array:
  """`table[ids]`, of which each device holds an equal share, as `divided` takes it.

  As in ALX (Mehta et al. 2021), ids are gathered, and each device adds the rows that it
  holds: only the rows that are looked up cross devices.

  Args:
    table: `[n, ...]`, in shards or not.
    ids: `[B, ...]` rows, where `B` is a multiple of `workers`.
  """
  if workers() == 1:
    return table[ids]

  def of(part, ids):
    every = jax.lax.all_gather(ids, ROWS, tiled=True)
    place = every - jax.lax.axis_index(ROWS) * part.shape[0]
    found = part.at[place].get(mode='fill', fill_value=0, wrap_negative_indices=False)
    return jax.lax.psum_scatter(found, ROWS, scatter_dimension=0, tiled=True)

  among = jax.sharding.get_abstract_mesh().shape[ROWS]
  mapped = jax.shard_map(
    of,
    axis_names={DATA, ROWS},
    in_specs=(BY_ROWS, PartitionSpec((DATA, ROWS))),
    out_specs=PartitionSpec((DATA, ROWS)),
    check_vma=False,
  )
  return mapped(jnp.pad(table, padding(table.shape, among)), ids)


def read(entries: Array, ids: Array) -> Array:
  """`entries[ids]`, of which every device holds an equal share of the entries.

  Many ids are divided among the devices as well, and each device looks up its own:
  then no device holds all ids or all that they stand for.

  Args:
    entries: `[E]`, `E` above 0.
    ids: of any shape; those beyond `E` read the last entry.
  """
  among = workers()
  if among == 1:
    return entries.at[ids].get(mode='clip')
  if ids.size < READ or ids.size % among:
    ids = _constrained(ids, PartitionSpec())
    return _constrained(entries.at[ids].get(mode='clip'), PartitionSpec())
  n = entries.shape[0]

  def of(part, ids):
    def look_up(some):
      every = jax.lax.all_gather(some, (DATA, ROWS), tiled=True)
      place = every - jax.lax.axis_index((DATA, ROWS)) * part.shape[0]
      found = part.at[place].get(mode='fill', fill_value=0, wrap_negative_indices=False)
      return jax.lax.psum_scatter(found, (DATA, ROWS), tiled=True)

    size = max(1, READ // among)
    blocks = jnp.pad(ids, (0, -ids.size % size)).reshape(-1, size)
    return jax.lax.map(look_up, blocks).reshape(-1)[: ids.size]

  mapped = jax.shard_map(
    of,
    axis_names={DATA, ROWS},
    in_specs=(BY_ALL, BY_ALL),
    out_specs=BY_ALL,
    check_vma=False,
  )
  padded = jnp.pad(entries, (0, -n % among))
  return mapped(padded, jnp.clip(ids, 0, n - 1).reshape(-1)).reshape(ids.shape)


# --- Between programs -------------------------------------------------------


def gathered(tree: Tree) -> Tree:
  """The tree on the host, every table at its own size; itself without any in shards."""
  if not any_of(tree):
    return tree

  def of(node):
    if _is_shards(node):
      return _on_host(node.array)[: node.n_rows]
    return fetch(node)

  return jax.tree.map(of, tree, is_leaf=_is_shards)


def _on_host(table):
  """A table on the host; of several hosts, devices get one shard of it at a time."""
  if table.is_fully_addressable:
    return jax.device_get(table)
  mesh = table.sharding.mesh
  whole = np.empty(table.shape, table.dtype)
  size = table.shape[0] // mesh.shape[ROWS]
  for at in range(mesh.shape[ROWS]):
    whole[at * size : (at + 1) * size] = jax.device_get(_shard(table, at, mesh))
  return whole


@functools.partial(jax.jit, static_argnames='mesh')
def _shard(table, at, mesh):
  """One shard of a table, on all devices."""

  def of(part, at):
    mine = jax.lax.axis_index(ROWS) == at
    return jax.lax.psum(jnp.where(mine, part, 0), ROWS)

  mapped = jax.shard_map(
    of,
    mesh=mesh,
    in_specs=(BY_ROWS, PartitionSpec()),
    out_specs=PartitionSpec(),
    check_vma=False,
  )
  return mapped(table, at)


def spread(tree: Tree, lengths: frozenset[int], mesh: jax.sharding.Mesh) -> Tree:
  """A tree on the host as `cut` leaves it: each device is sent its rows alone."""

  def of(leaf):
    leaf = np.asarray(leaf)
    if not leaf.ndim or leaf.shape[0] not in lengths:
      return jax.device_put(leaf, NamedSharding(mesh, PartitionSpec()))
    padded = np.pad(leaf, padding(leaf.shape, mesh.shape[ROWS]))
    return Shards(jax.device_put(padded, NamedSharding(mesh, BY_ROWS)), leaf.shape[0])

  return jax.tree.map(of, tree)


def any_of(tree: Tree) -> bool:
  """Whether any table of a tree is in shards."""
  return any(map(_is_shards, jax.tree.leaves(tree, is_leaf=_is_shards)))


def number(tree: Tree) -> int:
  """The number of shards that the tables of a tree are in."""
  return mesh_of(tree).shape[ROWS] if any_of(tree) else 1


def member(tree: Tree, index: int) -> Tree:
  """The tree of one member, its tables in shards, of a tree that leads with `[W]`."""
  return _member(tree, index, mesh_of(tree))


@functools.partial(jax.jit, static_argnames=('index', 'mesh'))
def _member(tree, index, mesh):
  def of(node):
    if _is_shards(node):
      table = _constrained(node.array[index], NamedSharding(mesh, BY_ROWS))
      return Shards(table, node.n_rows)
    return _constrained(node[index], NamedSharding(mesh, PartitionSpec()))

  return jax.tree.map(of, tree, is_leaf=_is_shards)


def mesh_of(tree: Tree) -> jax.sharding.Mesh:
  """The mesh of a tree of which a table is in shards."""
  nodes = filter(_is_shards, jax.tree.leaves(tree, is_leaf=_is_shards))
  sharding = next(nodes).array.sharding
  assert isinstance(sharding, NamedSharding)
  assert isinstance(sharding.mesh, jax.sharding.Mesh)
  return sharding.mesh


def form(shapes: Tree, in_shards: bool, lengths: frozenset[int]) -> Tree:
  """The tree that the same leaves make if its tables are in shards, or are not.

  Args:
    shapes: of members' arrays, which lead with `[W]`.
    in_shards: whether they are.
    lengths: the rows of tables.
  """

  def of(node):
    array = node.array if _is_shards(node) else node
    if not in_shards:
      return array
    if _is_shards(node) or len(array.shape) < 2 or array.shape[1] not in lengths:
      return node
    return Shards(array, array.shape[1])

  return jax.tree.map(of, shapes, is_leaf=_is_shards)


def fetch(tree: Tree) -> Tree:
  """The tree on the host; of arrays on several hosts, each host has all of them."""

  def of(leaf):
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
      assert isinstance(leaf.sharding, NamedSharding)
      leaf = _replicated(leaf, NamedSharding(leaf.sharding.mesh, PartitionSpec()))
    return leaf

  return jax.device_get(jax.tree.map(of, tree))


def _replicated(leaf, sharding):
  return jax.jit(lambda leaf: leaf, out_shardings=sharding)(leaf)


def _is_shards(node):
  return isinstance(node, Shards)


def _constrained(leaf, sharding):
  if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
    return leaf
  return jax.lax.with_sharding_constraint(leaf, sharding)
