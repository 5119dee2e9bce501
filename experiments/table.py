r"""One table or figure: trains what is missing, and writes what came of it.

python -m experiments.table --list
python -m experiments.table --config=configs/darec_table2.py
python -m experiments.table --config=configs/sharedvae_figure2.py
python -m experiments.table --config=configs/darec_table2.py:tables \
  --config.data.source=films.csv --config.data.target=books.csv

`results/<name>/` gets the table as Markdown, CSV and LaTeX, the plot, and the
records behind them, from which a second run prints the same without training.
"""

from absl import app, flags
from ml_collections import config_flags

from experiments import arguments

CONFIG = config_flags.DEFINE_config_file('config', help_string='The table.')
WORKDIR = flags.DEFINE_string('workdir', 'runs', 'Where run folders are.')
RESULTS = flags.DEFINE_string('results', 'results', 'Folders of tables.')
LIST = flags.DEFINE_boolean(
  'list', False, 'Only say what exists, what is missing and how long it takes.'
)
SECONDS = flags.DEFINE_float(
  'checkpoint_seconds', 15.0, 'Seconds between checkpoints.', lower_bound=0.0
)


def main(argv):
  del argv
  from experiments import show

  with arguments.program():
    _answer(CONFIG.value, show.Show())


def _answer(config, display):
  """What there is of tables, or one of them."""
  from experiments import make, statistics
  from xdomain.runs import spec as specs

  if config and 'method' in config:
    raise specs.SpecError(
      'this is the config of a method; python -m experiments.main runs it'
    )
  elif LIST.value:
    display.table(make.overview(WORKDIR.value, RESULTS.value, config))
  elif 'methods' not in config:
    statistics.table(config, RESULTS.value, display)
  else:
    make.table(config, WORKDIR.value, RESULTS.value, display, SECONDS.value)


if __name__ == '__main__':
  app.run(main, flags_parser=arguments.parse)
