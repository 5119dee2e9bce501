r"""Trains the method of a config and the methods beside it, and compares them.

python -m experiments.main --config=configs/darec.py:item
python -m experiments.main --config=configs/darec.py:item,quick
python -m experiments.main --config=configs/darec.py:item \
  --config.hyper.mu=1 --config.seed=3
python -m experiments.main --config=configs/darec.py:item \
  --config.sweep.hyper.mu='(0.01, 0.1, 1.0)' --config.sweep.seed='(0, 1, 2)'
"""

import dataclasses
import pathlib

from absl import app, flags
from ml_collections import config_flags

from experiments import arguments, processes, program

CONFIG = config_flags.DEFINE_config_file('config', help_string='The config.')
WORKDIR = flags.DEFINE_string('workdir', 'runs', 'The folder of run folders.')
SECONDS = flags.DEFINE_float(
  'checkpoint_seconds', 15.0, 'Seconds between checkpoints.', lower_bound=0.0
)
FINAL = flags.DEFINE_boolean(
  'final', False, 'Then train on all interactions for the chosen epochs, and save that.'
)


def main(argv: list[str]) -> None:
  del argv
  # Imported here, so that --help and a wrong flag end at once.
  with program.running(*processes.of_flags()):
    from xdomain import programs
    from xdomain.reporting import terminal

    with terminal.opened() as display:
      with programs.watch() as compiled:
        _train(CONFIG.value, display)
      display.say(str(compiled))


def _train(config, display):
  import jax

  from xdomain.runs import beside, hosts, sharing, sweeps

  spec, others = beside.specs_of(config)
  kind, count = jax.devices()[0].device_kind, jax.device_count()
  display.say(f'on {kind}' + f' x {count}' * (count > 1))
  workdir = pathlib.Path(WORKDIR.value)
  with sharing.opened(workdir):
    runs = beside.run_all(spec, others, workdir, display, SECONDS.value)
    swept = sweeps.swept(spec) or len(spec.sweep.seed) > 1
    if hosts.first():
      if swept:
        records = [record for each in runs for record in each.records]
        sweeps.report(spec, records, workdir, display)
      else:
        _print_comparison(runs, display)
    if FINAL.value and not swept:
      _train_on_everything(runs[-1], display)


def _print_comparison(runs, display):
  """Prints the table of some runs, and how the last differs from the others."""
  from xdomain.runs import store

  display.results([(each.spec.name, *each.records) for each in runs])
  *others, last = runs
  for other in others:
    for row in store.differences(last.spec, last.folder, other.folder):
      display.difference(last.spec.name, other.spec.name, *row)
  display.say(f'records, checkpoint and config are in {last.folder}')


def _train_on_everything(finished, display):
  """Trains the method on all interactions, and saves an artefact."""
  from xdomain import api
  from xdomain.runs import hosts, protocols, sharing, store

  @sharing.once
  def chosen():
    trained = api.load(finished.folder / store.ARTIFACT)
    return trained.spec, trained.dataset, trained.epochs, trained.seen

  spec = finished.spec
  folder = store.folder_of(spec, WORKDIR.value, 'final')
  if not (folder / 'about.json').exists():
    given, dataset, epochs, seen = chosen()
    value = protocols.of(spec).value
    with display.training(f'{spec.name} on all', value) as watch:
      final = api.fit_everything(given, dataset, epochs, watch=watch)
    if hosts.first():
      dataclasses.replace(final, seen=seen).save(folder)
  display.say(f'{spec.name}, trained on all interactions, is in {folder}')


if __name__ == '__main__':
  app.run(main, flags_parser=arguments.parse)
