r"""The collectives of an epoch on a mesh, and the bytes of each device.

XLA_FLAGS=--xla_force_host_platform_device_count=8 \
  python -m benchmarks.mesh --methods=bpr,ials,shared_vae --rows=8

An epoch is compiled, not run, so virtual devices show the traffic of real ones.
Collectives within a loop are listed once, as one turn moves them.
"""

import importlib
import math
import re

import jax
from absl import app, flags

from experiments import arguments, program

METHODS = flags.DEFINE_list('methods', ['bpr', 'ials', 'shared_vae'], 'The methods.')
DATA = flags.DEFINE_integer('data', 1, 'Devices that a batch is split over.')
ROWS = flags.DEFINE_integer('rows', 8, 'Devices that tables are split over.')
USERS = flags.DEFINE_integer('users', 4000, 'Users of the synthetic pair.')
ITEMS = flags.DEFINE_integer('items', 3000, 'Items of each domain.')
BYTES = {'f32': 4, 's32': 4, 'u32': 4, 's64': 8, 'u64': 8, 'pred': 1, 's8': 1, 'u8': 1}
RATING = ('autorec', 'cmf', 'darec', 'emcdr', 'pmf')
KINDS = 'all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter'


def main(argv):
  del argv
  with program.running():
    for name in METHODS.value:
      _report(name)


def _report(name):
  from xdomain import shards
  from xdomain.data import device, synthetic
  from xdomain.training import loop, placement

  module = importlib.import_module(f'xdomain.models.{name}')
  of = synthetic.pair if name in RATING else synthetic.implicit
  events = 10 * USERS.value
  dataset = of(
    0,
    users=USERS.value,
    source=ITEMS.value,
    target=ITEMS.value,
    source_ratings=events,
    target_ratings=events,
  )
  pair = dataset.pair
  model, hyper = module.model(device.sizes(pair)), module.Hyper()
  axes, key = shards.Axes(DATA.value, ROWS.value), jax.random.key(0)
  data = device.on_host(pair)
  whole = placement.size(data)
  plan = placement.plan(key, hyper, data, axes)
  key, data = plan.place((key, data))
  print(f'{name}: interactions {whole:,} bytes, {on_each(data):,} on each device')
  for stage, at in zip(model.stages, loop.shapes(model, key, data, hyper, axes)):
    state = at.state
    program = loop.run_epoch.lower(
      plan, stage, state, key, (at.stage, 1), data, plan.per_member(hyper)
    ).compile()
    whole = placement.size(state)
    print(
      f'{name}, {stage.name}: state {whole:,} bytes, {on_each(state):,} on each device'
    )
    for kind, shape, moved in collectives(program.as_text() or ''):
      print(f'  {kind:20} {shape:24} {moved:>12,} bytes')


def on_each(tree) -> int:
  """The bytes of a tree on each device of its mesh."""
  return sum(
    math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(tree)
  )


def collectives(text: str) -> list[tuple[str, str, int]]:
  """Kind, shape and bytes of each collective of a compiled program."""
  found = []
  for line in text.splitlines():
    match = re.search(rf'= (.*?) ({KINDS})(?:-start)?\(', line)
    if match:
      for kind, extent in re.findall(r'(\w+)\[([\d,]*)\]', match[1]):
        size = math.prod(int(n) for n in extent.split(',') if n)
        found.append((match[2], f'{kind}[{extent}]', size * BYTES[kind]))
  return found


if __name__ == '__main__':
  app.run(main, flags_parser=arguments.parse_plain)
