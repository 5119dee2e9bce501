r"""Trains the method of a config, and those it is shown beside.

python -m experiments.main --config=configs/darec.py:item
python -m experiments.main --config=configs/darec.py:item,quick
python -m experiments.main --config=configs/darec.py:item \
  --config.hyper.mu=1 --config.seed=3
python -m experiments.main --config=configs/darec.py:item \
  --config.sweep.hyper.mu='(0.01, 0.1, 1.0)'
"""

import pathlib
import sys

from absl import app, flags, logging
from ml_collections import config_flags

from experiments import arguments

CONFIG = config_flags.DEFINE_config_file('config', help_string='The config.')
WORKDIR = flags.DEFINE_string('workdir', 'runs', 'Where run folders go.')
SECONDS = flags.DEFINE_float(
  'checkpoint_seconds', 15.0, 'Seconds between checkpoints.', lower_bound=0.0
)


# What is shown beside a config is run on its terms.
TERMS = (
  'data', 'split', 'protocol', 'reviews', 'seed', 'epochs', 'patience', 'every',
)  # fmt: skip


def main(argv):
  del argv
  logging.set_verbosity(logging.WARNING)  # jax tells of every missing backend.
  # Imported here, so that --help and a wrong flag answer at once.
  from experiments import build, show
  from xdomain import checkpoint, train
  from xdomain.data import tables

  display = show.Show()
  try:
    _run_all(CONFIG.value, display)
  except (
    build.ConfigError, tables.DataError, train.Diverged,
    checkpoint.WrongCheckpoint,
  ) as error:  # fmt: skip
    print(f'error: {error}', file=sys.stderr)
    sys.exit(1)
  except OSError as error:
    print(f'error: {error.strerror}: {error.filename}', file=sys.stderr)
    sys.exit(1)


def _run_all(config, display):
  """The configs beside, then the config itself, then one table."""
  from experiments import protocols, run
  from xdomain import report

  pathlib.Path(WORKDIR.value).mkdir(parents=True, exist_ok=True)
  prepared = run.prepare(config, display.say)
  display.data(prepared.dataset)
  protocol = protocols.of(config)
  beside = [_on_same_terms(other, config) for other in config.beside.values()]
  rows, folders = [], []
  for each in (*beside, config):
    folders.append(run.folder_of(each, WORKDIR.value))
    with display.training(each.name, protocol.value) as watch:
      records = run.run(
        each, prepared, folders[-1], watch=watch, seconds=SECONDS.value
      )
    rows += [(_label(each, record), record) for record in records]
  display.results(rows)
  best = min(range(len(records)), key=lambda i: report.loss(records[i]))
  name = _label(config, records[best])
  for other, folder in zip(beside, folders):
    for row in run.differences(config, folders[-1], folder, best):
      display.difference(name, other.name, *row)
  display.say(f'records, checkpoint and config are in {folders[-1]}')


def _on_same_terms(other, config):
  """A config to be shown beside: on the same split, with the same budget."""
  other = other.copy_and_resolve_references()
  with other.unlocked():
    for field in TERMS:
      other[field] = config[field]
  return other


def _label(config, record):
  swept = [name for name, values in config.sweep.hyper.items() if values]
  values = (f'{name}={record["hyper"][name]:g}' for name in swept)
  return ' '.join([config.name, *values])


if __name__ == '__main__':
  app.run(main, flags_parser=arguments.parse)
