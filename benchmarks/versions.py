r"""One epoch of the networks by this code and by an earlier checkout, in turn.

git worktree add --detach ../earlier 78b24b3
python -m benchmarks.versions --before=../earlier
python -m benchmarks.versions --before=../earlier --cases='shared_vae;conet'

Each checkout has a process of its own, which reads the same MovieLens pair with its
own code and compiles the epoch of a config's last stage. Epochs take turns, and the
fastest by CPU time (user and system) counts, so that other work on the machine
matters little. Operations are those that XLA counts in the compiled epoch; it counts
the body of a loop once.
"""

import json
import pathlib
import subprocess
import sys
from typing import Any

from absl import app, flags

BEFORE = flags.DEFINE_string('before', None, 'An earlier checkout.', required=True)
CASES = flags.DEFINE_string(
  'cases',
  'shared_vae;shared_vae:single;autorec:item;autorec:user;conet;mlp',
  'Configs, between semicolons.',
)
STEPS = flags.DEFINE_integer('steps', 40, 'At most so many stand for an epoch.')
REPEATS = flags.DEFINE_integer('repeats', 7, 'Epochs timed of each.')

# Runs in either checkout; modules are found under the names that they have there.
WORKER = """
import importlib, json, resource, sys
sys.path.insert(0, '.')
import jax, jax.numpy as jnp

def first(*names):
  for name in names:
    try:
      return importlib.import_module(name)
    except ImportError:
      pass

def cpu():
  spent = resource.getrusage(resource.RUSAGE_SELF)
  return spent.ru_utime + spent.ru_stime

config, argument, steps = json.loads(sys.argv[1])
config = importlib.import_module('configs.' + config).get_config(argument)
sources = first('xdomain.data.sources', 'xdomain.data.load')
views = first('xdomain.data.views', 'xdomain.data.pairs')
device = first('xdomain.data.device', 'xdomain.data.arrays')
loop = first('xdomain.training.loop', 'xdomain.train')
read = getattr(sources, 'dataset', None) or sources.load
pair = read(say=lambda line: None, **config.data).pair
if config.view == 'merged':
  pair = views.joint(pair)
if config.view == 'alone':
  pair = views.alone(pair)
method = importlib.import_module('xdomain.models.' + config.method)
model = method.model(device.sizes(pair), **config.model.to_dict())
stage, data, hyper = model.stages[-1], device.put(pair), method.Hyper(**config.hyper)
key, every = jax.random.key(0), stage.epoch
stage = stage._replace(
  epoch=lambda key, data: jax.tree.map(lambda x: x[:steps], every(key, data))
)
state, rest = jax.jit(stage.init)(key, data, hyper, ()), (key, data, hyper)
if hasattr(loop, 'epoch'):
  program = loop.epoch.lower(stage, state, *rest).compile()
else:
  rest = (*rest, True)
  program = loop.run_epoch.lower(stage, 'single', state, *rest).compile()
cost = program.cost_analysis()
cost = cost[0] if isinstance(cost, list) else cost
print(json.dumps([cost['flops'], cost['bytes accessed']]), flush=True)
for _ in sys.stdin:
  fresh = jax.block_until_ready(jax.tree.map(jnp.copy, state))
  started = cpu()
  jax.block_until_ready(program(fresh, *rest))
  print(cpu() - started, flush=True)
"""


class Checkout:
  """The process of one checkout."""

  def __init__(self, folder: pathlib.Path, case: str):
    config, _, argument = case.partition(':')
    words = json.dumps([config, argument, STEPS.value])
    self._process: Any = subprocess.Popen(
      [sys.executable, '-c', WORKER, words],
      cwd=folder,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )

  def line(self):
    """The next line of the process, as JSON."""
    text = self._process.stdout.readline()
    if not text:
      raise RuntimeError('the process of a checkout ended; its error is above')
    return json.loads(text)

  def epoch(self) -> float:
    """CPU seconds of an epoch."""
    self._process.stdin.write('\n')
    self._process.stdin.flush()
    return self.line()

  def close(self) -> None:
    self._process.stdin.close()
    self._process.wait()


def row(case: str, folders: list[pathlib.Path]) -> list[str]:
  """The cells of a case."""
  both = [Checkout(folder, case) for folder in folders]
  costs = [each.line() for each in both]
  turns = [[each.epoch() for each in both] for _ in range(REPEATS.value + 1)]
  for each in both:
    each.close()
  before, now = (min(times) for times in zip(*turns[1:]))
  operations, moved = (now / before for before, now in zip(*costs))
  return [
    case,
    f'{before:.3f}',
    f'{now:.3f}',
    f'{now / before:.2f}',
    f'{operations:.2f}',
    f'{moved:.2f}',
  ]


def main(argv):
  del argv
  from xdomain.reporting import render

  columns = 'config', 'before, CPU s', 'now, CPU s', 'now : before'
  columns += 'operations', 'bytes'
  print(render.markdown_row(columns))
  print(render.markdown_row(['---'] * len(columns)), flush=True)
  folders = [pathlib.Path(BEFORE.value), pathlib.Path(__file__).parent.parent]
  for case in CASES.value.split(';'):
    print(render.markdown_row(row(case, folders)), flush=True)


if __name__ == '__main__':
  app.run(main)
