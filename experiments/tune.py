r"""Tunes a method on validation data, then tests the choice on several seeds.

python -m experiments.tune --config=configs/bpr.py
python -m experiments.tune --config=configs/darec.py:item,tables \
  --config.data.source=films.csv --config.data.target=books.csv --seeds=3
python -m experiments.tune --config=configs/bpr.py --seeds=0 \
  --keep=results/searches

The space is `config.search`: all of its combinations, or `config.search.trials` of
them drawn at random, the same number for every method. Trials train on the split of
`config.seed` and leave its test fold alone.
"""

import math
import pathlib

from absl import app, flags
from ml_collections import config_flags

from experiments import arguments

CONFIG = config_flags.DEFINE_config_file('config', help_string='The config.')
WORKDIR = flags.DEFINE_string('workdir', 'runs', 'The folder of run folders.')
SEEDS = flags.DEFINE_integer(
  'seeds', 5, 'The number of seeds that test the choice.', lower_bound=0
)
KEEP = flags.DEFINE_string(
  'keep', '', 'A folder of searches: the search is kept there, or read from it.'
)


def main(argv):
  del argv
  with arguments.program():
    from xdomain.reporting import terminal

    tune_and_test(CONFIG.value, terminal.Terminal())


def tune_and_test(config, display):
  """Makes the search, prints its table, and tests its choice on all seeds."""
  from xdomain.runs import methods, prepare, sweeps, tune
  from xdomain.runs import spec as specs

  config = specs.from_config(config)
  methods.check(config)
  if specs.is_sweep(config) or sweeps.swept(config):
    raise specs.SpecError(
      'sweep is not for tuning: search holds the values that are tried'
    )
  workdir = pathlib.Path(WORKDIR.value)
  for folder in filter(None, (workdir, KEEP.value)):
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
  prepared = prepare.prepare(config, display.say)
  display.data(prepared.dataset)
  found = KEEP.value and tune.kept(KEEP.value, config, prepared.hashes)
  if found:
    display.say(f'{config.name}: the search that is kept in {KEEP.value}')
  else:
    found = tune.search(config, prepared, workdir, display)
    if KEEP.value:
      tune.keep(KEEP.value, config, found)
      display.say(f'{config.name}: the search is kept in {KEEP.value}')
  display.table(tune.rows(found))
  if SEEDS.value:
    _test(config, found, prepared, workdir, display)


def _test(config, found, prepared, workdir, display):
  """Trains the choice of a search on all seeds, and prints the test."""
  from xdomain import files
  from xdomain.reporting import records, tables, terminal
  from xdomain.runs import prepare, sweeps, tune
  from xdomain.runs import spec as specs
  from xdomain.training import loop

  def prepared_for(of_seed):
    if of_seed.seed == config.seed:
      return prepared
    return prepare.prepare(of_seed, lambda line: None)

  folder = tune.folder_of(config, workdir, f'tuned{SEEDS.value}')
  chosen = specs.replaced(
    tune.apply(config, found), sweep=dict(seed=tuple(range(SEEDS.value)))
  )
  runs = sweeps.run_all(chosen, prepared_for, folder, workdir, display)
  tested = [record | {'search': found} for _, members in runs for record in members]
  files.write(folder / 'records.jsonl', ''.join(map(files.line, tested)))
  folders = ', '.join(str(folder) for folder, _ in runs)
  display.say(f'trials and records are in {folder}; runs of the choice in {folders}')
  diverged = [str(r['seed']) for r in tested if records.loss(r) == math.inf]
  if diverged:
    raise loop.Diverged(f'{chosen.name} diverged with seed {", ".join(diverged)}')
  display.say(terminal.OVER_SEEDS)
  for rows in tables.over_seeds(tested):
    display.table(rows)


if __name__ == '__main__':
  app.run(main, flags_parser=arguments.parse)
