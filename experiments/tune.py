r"""Tunes a method on validation data, then tests the choice on several seeds.

python -m experiments.tune --config=configs/bpr.py
python -m experiments.tune --config=configs/darec.py:item,tables \
  --config.data.source=films.csv --config.data.target=books.csv --seeds=3
python -m experiments.tune --config=configs/bpr.py --seeds=0 \
  --keep=results/searches

The space is `config.search`: all of its combinations, or as many as
`config.search.trials` drawn at random, which is the same number for every
method. Trials train on the split of `config.seed` and leave its test set alone.
"""

import math
import pathlib

from absl import app, flags
from ml_collections import config_flags

from experiments import arguments

CONFIG = config_flags.DEFINE_config_file('config', help_string='The config.')
WORKDIR = flags.DEFINE_string('workdir', 'runs', 'Where run folders go.')
SEEDS = flags.DEFINE_integer(
  'seeds', 5, 'The choice is tested on this many seeds.', lower_bound=0
)
KEEP = flags.DEFINE_string(
  'keep', '', 'A folder of searches: this one is kept there, or taken from it.'
)


def main(argv):
  del argv
  from experiments import show

  with arguments.program():
    _tune(CONFIG.value, show.Show())


def _tune(config, display):
  """The search, its table, and the chosen setting on all seeds."""
  import jax

  from experiments import search, show, sweep
  from xdomain import files
  from xdomain.reporting import report
  from xdomain.runs import methods, prepare, protocols, run, store
  from xdomain.runs import spec as specs
  from xdomain.training import loop

  config = specs.from_config(config)
  methods.check(config)
  if specs.is_sweep(config) or sweep.swept(config):
    raise specs.SpecError(
      'sweep is not for tuning: search holds the values that are tried'
    )
  workdir = pathlib.Path(WORKDIR.value)
  for folder in filter(None, (workdir, KEEP.value)):
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
  prepared = prepare.prepare(config, display.say)
  display.data(prepared.dataset)
  found = KEEP.value and search.kept(KEEP.value, config, prepared.hashes)
  if found:
    display.say(f'{config.name}: from its search that is kept in {KEEP.value}')
  else:
    found = search.search(config, prepared, workdir, display)
    if KEEP.value:
      search.keep(KEEP.value, config, found)
      display.say(f'{config.name}: its search is kept in {KEEP.value}')
  display.table(search.rows(found))
  if not SEEDS.value:
    return
  folder = search.folder_of(config, workdir, f'tuned{SEEDS.value}')
  seeds = tuple(range(SEEDS.value))
  chosen = specs.replaced(search.apply(config, found), sweep=dict(seed=seeds))
  records, folders = [], []

  def prepared_for(of_seed):
    if of_seed.seed == config.seed:
      return prepared
    return prepare.prepare(of_seed, lambda line: None)

  for turn, several in sweep.turns(chosen, prepared_for, folder):
    for part, data in sweep.parts(turn, several, folder):
      into = store.folder_of(part, workdir)
      folders.append(into)
      value = protocols.of(part).value
      parts = len(seeds) // len(data)
      at = len(records) // len(data)
      with display.training(part.name, value, at, parts) as watch:
        records += run.run(part, data, into, watch=watch)
    jax.clear_caches()  # Each turn has programs of its own.
  records = [record | {'search': found} for record in records]
  files.write(folder / 'records.jsonl', ''.join(map(files.line, records)))
  display.say(
    f'trials and records are in {folder}; the choice is trained in'
    f' {", ".join(map(str, folders))}'
  )
  diverged = [r['seed'] for r in records if report.loss(r) == math.inf]
  if diverged:
    raise loop.Diverged(
      f'{chosen.name} has diverged with seed {", ".join(map(str, diverged))}'
    )
  display.say(show.OVER_SEEDS)
  display.table(report.over_seeds(records))


if __name__ == '__main__':
  app.run(main, flags_parser=arguments.parse)
