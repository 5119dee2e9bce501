"""The mesh that a method is trained on, and whether it fits the devices' memory."""

from collections.abc import Callable

import jax

from xdomain import base, shards
from xdomain.data import types
from xdomain.runs import memory, methods
from xdomain.runs import spec as specs
from xdomain.training import loop, placement

Say = Callable[[str], object]
# Settings that decide the size of a state or of a step.
_SETTINGS = ('factors', 'embed', 'hidden', 'latent', 'layers', 'batch', 'chunk')


def placed(
  spec: specs.Spec,
  method: methods.Method,
  data: base.Arrays,
  valid: types.PerDomain | None = None,
  measure: loop.Measure | None = None,
  say: Say = lambda line: None,
) -> methods.Method:
  """The method on its mesh: that of the spec, or the smallest that it fits.

  Args:
    spec: of the run.
    method: of the spec.
    data, valid, measure: as for `loop.fit` of one member.
    say: called with a line about memory, and with one about the mesh.

  Raises:
    SpecError: there are fewer devices, or the method does not fit their memory.
  """
  key, hyper = jax.random.key(spec.seed), jax.tree.map(_first, method.hyper)
  need = memory.of_member(method.model, key, data, hyper, valid, measure)
  free, members = memory.free(), len(method.members)
  waits = placement.size(data) if jax.device_count() > 1 else 0  # On the host.

  def takes_on(axes):
    share = -(-waits // (axes.data * axes.rows))
    return _on_device(need, members, axes) + share

  def fits(axes):
    return takes_on(axes) <= free

  options = [_given(spec)] if spec.mesh else _by_size()
  axes = next(filter(fits, options), options[-1])
  takes = takes_on(axes)
  if takes > free:
    raise specs.SpecError(_refusal(spec, members, takes, free, fits))
  say(
    f'{spec.name} takes about {memory.bytes_text(takes)} of the'
    f' {memory.bytes_text(free)} that are free on each device'
  )
  if axes == shards.ONE:
    return method
  say(
    f'mesh: batches over {axes.data}, tables of users and items over {axes.rows} of'
    f' {len(jax.devices())} devices'
  )
  return method._replace(axes=axes)


def scoring(state: base.Tree, data: base.Arrays) -> base.Tree:
  """The state to score from: itself, or in shards if one device cannot hold it.

  Args:
    state: trained, on the host or a device.
    data: that it was trained on.
  """
  count = len(jax.local_devices())
  if count == 1 or shards.any_of(state) or placement.size(state) <= memory.free() // 2:
    return state
  mesh = placement.mesh((1, 1, count), jax.local_devices())
  return shards.spread(state, placement.lengths(data), mesh)


def _first(leaf):
  return leaf[0] if leaf.ndim else leaf


def _given(spec):
  """The axes of a spec's mesh."""
  count = len(jax.devices())
  fine = len(spec.mesh) == 2 and all(
    isinstance(each, int) and each > 0 for each in spec.mesh
  )
  specs.check('mesh', spec.mesh, fine, 'two numbers: of devices for batches and tables')
  data, rows = spec.mesh
  if data * rows > count:
    raise specs.SpecError(
      f'mesh is {spec.mesh}, of {data * rows} devices; there are {count}'
    )
  return shards.Axes(data, rows)


def _by_size() -> list[shards.Axes]:
  """Meshes that tables are spread over, from one device to all."""
  count = len(jax.devices())
  if jax.process_count() > 1:  # Every process has its part.
    return [shards.Axes(rows=count)]
  return [shards.Axes(rows=n) for n in range(1, count + 1) if count % n == 0]


def _on_device(need: memory.Need, members: int, axes: shards.Axes) -> int:
  """The bytes that all members on one device take."""
  return need.on(axes) * -(-members // placement.spread(members, axes.data * axes.rows))


def _refusal(spec, members, takes, free, fits):
  ways = []
  rows = [n for n in (2, 4, 8, 16, 32, 64) if fits(shards.Axes(rows=n))]
  if rows:
    ways.append(f'mesh=(1, {rows[0]}) on {rows[0]} such devices')
  if members > 1:
    ways.append('width=1')
  known = methods.settings(spec.method)
  smaller = [f'model.{name}' for name in _SETTINGS if name in known]
  if smaller:
    ways.append(f'a smaller {" or ".join(smaller)}')
  ways.append('stricter filters of the data')
  return (
    f'{spec.name} takes about {memory.bytes_text(takes)} on a device, of which'
    f' {memory.bytes_text(free)} are free; try {", or ".join(ways)}'
  )
