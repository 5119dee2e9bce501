r"""Tunes a method on validation data, then tests the choice, on each of several seeds.

python -m experiments.tune --config=configs/bpr.py
python -m experiments.tune --config=configs/darec.py:item,tables \
  --config.data.source=films.csv --config.data.target=books.csv --seeds=3
python -m experiments.tune --config=configs/bpr.py --seeds=0 \
  --keep=results/searches

The space is `config.search`. A search ends after `config.search.trials` trials or
`config.search.minutes` minutes of two cores, whichever comes first; the seeds share the
minutes. Each seed is searched on its own split, and trials leave its test fold alone,
so that no choice depends on a test set. `--seeds=0` searches on `config.seed` and tests
nothing. A search that was interrupted resumes. Needs Optuna: `pip install optuna`.
"""

import math
import pathlib

from absl import app, flags
from ml_collections import config_flags

from experiments import arguments

CONFIG = config_flags.DEFINE_config_file('config', help_string='The config.')
WORKDIR = flags.DEFINE_string('workdir', 'runs', 'The folder of run folders.')
SEEDS = flags.DEFINE_integer(
  'seeds', 5, 'The number of seeds that are tuned and tested.', lower_bound=0
)
KEEP = flags.DEFINE_string(
  'keep', '', 'A folder of searches: the search is kept there, or read from it.'
)


def main(argv):
  del argv
  with arguments.program():
    from xdomain.reporting import terminal

    with terminal.opened() as display:
      tune_and_test(CONFIG.value, display)


def tune_and_test(config, display):
  """Makes the search of each seed, prints its table, and tests its choice."""
  from xdomain.runs import methods, sweeps, tune
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
  seeds = range(SEEDS.value) or (config.seed,)
  tested = [
    record
    for seed in seeds
    for record in _of_seed(tune.on_seed(config, seed, seeds), workdir, display)
  ]
  if tested:
    _report(config, tested, workdir, display)


def _of_seed(config, workdir, display):
  """Searches one seed; the records of its test, none where nothing is tested."""
  from xdomain.runs import prepare, store, sweeps, tune
  from xdomain.training import loop

  prepared = prepare.prepare(config, display.say)
  display.data(prepared.dataset)
  found = KEEP.value and tune.kept(KEEP.value, config, prepared.hashes)
  title = f'{config.name}, seed {config.seed}'
  if found:
    display.say(f'{title}: the search is read from {KEEP.value}')
  else:
    found = tune.search(config, prepared, workdir, display)
    if KEEP.value:
      found = tune.keep(KEEP.value, config, found)
      display.say(f'{title}: the search is kept in {KEEP.value}')
  display.table(tune.rows(found))
  display.say(f'{title}: {tune.summary(found)}')
  if not SEEDS.value:
    return []
  chosen = tune.apply(config, found)
  folder = store.folder_of(chosen, workdir)
  try:
    records = sweeps.run_shown(chosen, prepared, folder, display)
  except loop.Diverged:  # Its record says so, and the other seeds are tested too.
    records = store.records(folder, [prepared])
  return [record | {'search': found} for record in records]


def _report(config, tested, workdir, display):
  """Writes the records of all seeds and prints their means."""
  from xdomain import files
  from xdomain.reporting import records, tables, terminal
  from xdomain.runs import tune
  from xdomain.training import loop

  folder = tune.folder_of(config, workdir, f'tuned{SEEDS.value}')
  files.write(folder / 'records.jsonl', ''.join(map(files.line, tested)))
  display.say(f'the records of the choices are in {folder}')
  diverged = [str(r['seed']) for r in tested if records.loss(r) == math.inf]
  if diverged:
    raise loop.Diverged(f'{config.name} diverged with seed {", ".join(diverged)}')
  display.say(terminal.OVER_SEEDS)
  for rows in tables.over_seeds(tested):
    display.table(rows)


if __name__ == '__main__':
  app.run(main, flags_parser=arguments.parse)
