r"""One epoch of K runs: in turn, and at once.

python -m benchmarks.sweep
python -m benchmarks.sweep --models='bpr;cmf, als' --members=4 --steps=10

On the MovieLens pairs, with the settings of the configs; of a method of several
stages the last is timed. In turn is the program of a single run, K times; the
others are what `placement.each` makes of K runs, and ratios are to in turn: vmap of
runs that share batches, and seeds, which is vmap of runs with keys and data of their
own. `chosen` is what a sweep does on this device, of values and of seeds. Forms take
turns; the fastest epoch counts. A few steps stand for a long epoch. Compilation is
timed apart.
"""

import importlib
import time

import jax
import jax.numpy as jnp
from absl import app, flags, logging

from benchmarks import autorec, numbers

CASES = {  # A config, its argument, and settings in place of its own.
  'bias': ('bias', '', {}),
  'bpr': ('bpr', '', {}),
  'bpr, quick': ('bpr', 'quick,synthetic', {}),
  'cmf': ('cmf', '', {}),
  'cmf, als': ('cmf', 'als', {}),
  'cmf, als, quick': ('cmf', 'als,quick,synthetic', {}),
  'mlp': ('mlp', '', {}),
  'mlp, quick': ('mlp', 'quick,synthetic', {}),
  'pmf': ('pmf', '', {}),
  'autorec': ('autorec', 'item', {}),
  'autorec, 32': ('autorec', 'item', dict(embed=32)),
  'autorec, quick': ('autorec', 'item,quick,synthetic', {}),
  'darec': ('darec', 'item', {}),
  'darec, quick': ('darec', 'item,quick,synthetic', {}),
  'shared_vae': ('shared_vae', '', {}),
  'shared_vae, 128-64': ('shared_vae', '', dict(hidden=(128,), latent=64)),
  'shared_vae, 64-16': ('shared_vae', '', dict(hidden=(64,), latent=16)),
  'shared_vae, quick': ('shared_vae', 'quick,synthetic', {}),
}
SWEPT = flags.DEFINE_string(
  'models', ';'.join(CASES), 'Which models, between semicolons.'
)
MEMBERS = numbers.define('members', [1, 4, 16], 'Runs of a sweep, K.')
FORMS = 'vmap', 'seeds'
STEPS = flags.DEFINE_integer('steps', 40, 'At most so many stand for an epoch.')


def config_of(name):
  """The config of a case."""
  file, argument, settings = CASES[name]
  config = importlib.import_module(f'configs.{file}').get_config(argument)
  config.model.update(settings)
  return config


def case(name):
  """The model, its hyper-parameters and its data."""
  from xdomain.data import device, sources, views

  config = config_of(name)
  pair = sources.dataset(say=lambda line: None, **config.data).pair
  if config.view == 'merged':
    pair = views.joint(pair)
  method = importlib.import_module(f'xdomain.models.{config.method}')
  model = method.model(device.sizes(pair), **config.model.to_dict())
  hyper = method.Hyper(*(jnp.full(1, v) for v in method.Hyper(**config.hyper)))
  return model, hyper, device.put(pair)


def last_stage(model, data, hyper, steps):
  """The last stage of at most so many steps, and the state it begins with."""
  from xdomain.training import loop

  done, key = (), jax.random.key(0)
  for _ in model.stages:
    progress = loop.begin(model, key, data, hyper, done)
    done = (*done, progress.best)
  stage = model.stages[-1]

  def epoch(key, data):
    visits = stage.epoch(key, data)
    return jax.tree.map(lambda leaf: leaf[:steps], visits)

  return stage._replace(epoch=epoch), progress.state


def compiled(stage, form, state, data, hyper):
  """The program of an epoch, and the seconds that compiling it took."""
  from xdomain.data import device
  from xdomain.training import loop, placement

  key, at = jax.random.key(0), (0, 1)
  if form == 'seeds':
    (count,) = {leaf.shape[0] for leaf in jax.tree.leaves(state)}
    data = device.stack([data] * count)
    key = jax.random.split(key, count)
  plan, rest = placement.plan(key, hyper, data), (key, at, data, hyper)
  lowered = loop.run_epoch.lower(plan, stage, state, *rest)
  started = time.perf_counter()
  program = lowered.compile()
  seconds = time.perf_counter() - started
  return lambda state: program(state, *rest), seconds


def epoch(program, state, times=1):
  """Seconds of an epoch, so many times."""
  seconds = 0.0
  for _ in range(times):
    fresh = jax.block_until_ready(jax.tree.map(jnp.copy, state))
    started = time.perf_counter()
    jax.block_until_ready(program(fresh))
    seconds += time.perf_counter() - started
  return seconds


def compare(stage, state, data, hyper, count, repeats) -> list[str]:
  """Cells of the table: K runs in every form, in turn."""
  from xdomain.runs import memory
  from xdomain.training import placement

  states, hypers = (
    jax.tree.map(lambda leaf: jnp.repeat(leaf, count, axis=0), tree)
    for tree in (state, hyper)
  )
  size = placement.size(state)
  single, *_ = compiled(stage, 'vmap', state, data, hyper)
  forms = {form: compiled(stage, form, states, data, hypers) for form in FORMS}
  turns = [
    (
      epoch(single, state, count),
      *(epoch(program, states) for program, _ in forms.values()),
    )
    for _ in range(repeats + 1)
  ]
  alone, *others = (min(times) for times in zip(*turns[1:]))
  seconds = dict(zip(FORMS, others))
  chosen = [
    'at once' if memory.at_once(size, apart) else 'in turn' for apart in (False, True)
  ]
  return [
    str(count),
    *(f'{took:.3f}' for took in (alone, *others)),
    *(f'{seconds[form] / alone:.2f}' for form in FORMS),
    *chosen,
    *(f'{took:.1f}' for _, took in forms.values()),
  ]


def main(argv):
  del argv
  logging.set_verbosity(logging.WARNING)
  columns = [
    'model',
    'MB a member',
    'K',
    'in turn s',
    *(f'{form} s' for form in FORMS),
    *(f'{form} ratio' for form in FORMS),
    'chosen',
    'seeds chosen',
    *(f'{form} compile s' for form in FORMS),
  ]
  print(f'{jax.device_count()} x {jax.devices()[0].device_kind}\n')
  print(line(columns), line(['---'] * len(columns)), sep='\n', flush=True)
  for name in SWEPT.value.split(';'):
    model, hyper, data = case(name)
    stage, state = last_stage(model, data, hyper, STEPS.value)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    for count in MEMBERS.value:
      cells = compare(stage, state, data, hyper, count, autorec.REPEATS.value)
      print(line([name, f'{size / 1e6:.2f}', *cells]), flush=True)
    jax.clear_caches()


def line(cells) -> str:
  """A row of a Markdown table."""
  return f'| {" | ".join(cells)} |'


if __name__ == '__main__':
  app.run(main)
