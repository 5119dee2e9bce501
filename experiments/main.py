r"""Trains the method of a config, and those it is shown beside.

python -m experiments.main --config=configs/darec.py:item
python -m experiments.main --config=configs/darec.py:item,quick
python -m experiments.main --config=configs/darec.py:item \
  --config.hyper.mu=1 --config.seed=3
python -m experiments.main --config=configs/darec.py:item \
  --config.sweep.hyper.mu='(0.01, 0.1, 1.0)' --config.sweep.seed='(0, 1, 2)'
"""

import pathlib
from typing import Any, NamedTuple

from absl import app, flags
from ml_collections import config_flags

from experiments import arguments

CONFIG = config_flags.DEFINE_config_file('config', help_string='The config.')
WORKDIR = flags.DEFINE_string('workdir', 'runs', 'Where run folders go.')
SECONDS = flags.DEFINE_float(
  'checkpoint_seconds', 15.0, 'Seconds between checkpoints.', lower_bound=0.0
)


FINAL = flags.DEFINE_boolean(
  'final', False, 'Then train on all interactions, for the epochs that were chosen.'
)


def main(argv):
  del argv
  # Imported here, so that --help and a wrong flag answer at once.
  with arguments.program():
    from xdomain.reporting import terminal
    from xdomain.training import compiling

    display = terminal.Terminal()
    with compiling.watch() as compiled:
      _run_all(CONFIG.value, display)
    display.say(str(compiled))


def _run_all(config, display):
  """The configs beside, then the config itself, then one table."""
  import jax

  from xdomain.runs import methods, prepare, store, sweeps
  from xdomain.runs import spec as specs

  config, beside = _specs(config)
  methods.check(config)
  kind, count = jax.devices()[0].device_kind, jax.local_device_count()
  display.say(f'on {kind}' + f' x {count}' * (count > 1))
  pathlib.Path(WORKDIR.value).mkdir(parents=True, exist_ok=True)
  workdir = store.folder_of(config, WORKDIR.value, 'sweep')
  first, *others = specs.by_seed(config)
  seeds, runs = 1 + len(others), []

  def prepared_for(of_seed):
    if of_seed.seed != first.seed:  # Of data that has been shown.
      return prepare.prepare(of_seed, lambda line: None)
    prepared = prepare.prepare(of_seed, display.say)
    display.data(prepared.dataset)
    return prepared

  for turn, several in sweeps.turns(config, prepared_for, workdir):
    runs += _run_turn(turn, beside, several, workdir, display, len(runs), seeds)
  if sweeps.swept(config) or len(config.sweep.seed) > 1:
    records = [record for each in runs for record in each.records]
    sweeps.report(config, records, WORKDIR.value, display)
  else:
    _show_run(runs, display)
    if FINAL.value:
      _train_final(runs[-1], display)


def _specs(config):
  """The spec of a config, and those of the configs beside it on its terms."""
  from xdomain.runs import spec as specs

  own = specs.from_config(config)
  beside = map(specs.from_config, config.get('beside', {}).values())
  return own, [specs.on_the_terms_of(other, own) for other in beside]


class Run(NamedTuple):
  """A spec that was run."""

  config: Any
  folder: pathlib.Path
  records: list[dict]


def _run_turn(config, others, several, workdir, display, done, seeds):
  """Each `Run` beside a config of some seeds, then those of its own."""
  from xdomain.runs import protocols, run, store, sweeps
  from xdomain.runs import spec as specs

  own = sweeps.parts(config, several, workdir)
  beside = [
    part
    for other in others
    for part in sweeps.parts(specs.on_the_terms_of(other, config), several, workdir)
  ]
  for each, data in (*beside, *own):
    run.check(each, data[0])
  parts = len(beside) + len(own)
  of = parts * -(-seeds // len(several))
  of = of if len(own) > 1 or seeds > 1 else 1
  runs = []
  for part, (each, data) in enumerate((*beside, *own), done):
    folder = store.folder_of(each, WORKDIR.value)
    value = protocols.of(config).value
    finished = (folder / 'records.jsonl').exists()
    with display.training(each.name, value, part, of) as watch:
      records = run.run(
        each, data, folder, watch=watch, seconds=SECONDS.value, say=display.say
      )
    runs.append(Run(each, folder, records))
    if finished:
      display.say(
        f'{each.name}: from its records of {records[0]["time"]}; to train it'
        f' again, delete {folder} or give another --workdir'
      )
  return runs


def _show_run(runs, display):
  """The table of some runs, and how the last differs from the others."""
  from xdomain.runs import store

  display.results([(each.config.name, *each.records) for each in runs])
  *beside, last = runs
  for other in beside:
    for row in store.differences(last.config, last.folder, other.folder):
      display.difference(last.config.name, other.config.name, *row)
  display.say(f'records, checkpoint and config are in {last.folder}')


def _train_final(last, display):
  """Trains the method on all interactions, and leaves an artefact."""
  import dataclasses

  from xdomain import api
  from xdomain.runs import protocols, store

  folder = store.folder_of(last.config, WORKDIR.value, 'final')
  if not (folder / 'about.json').exists():
    trained = api.load(last.folder / store.ARTIFACT)
    value = protocols.of(trained.spec).value
    with display.training(f'{trained.spec.name} on all', value) as watch:
      final = api.fit_everything(
        trained.spec, trained.dataset, trained.epochs, watch=watch
      )
    dataclasses.replace(final, seen=trained.seen).save(folder)
  display.say(f'{last.config.name}, trained on all interactions, is in {folder}')


if __name__ == '__main__':
  app.run(main, flags_parser=arguments.parse)
