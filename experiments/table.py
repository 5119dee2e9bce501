r"""Makes one table or figure: trains the missing runs and writes its folder.

python -m experiments.table --list
python -m experiments.table --config=configs/darec_table2.py
python -m experiments.table --config=configs/sharedvae_figure2.py
python -m experiments.table --config=configs/darec_table2.py:tables \
  --config.data.source=films.csv --config.data.target=books.csv

`results/<name>/` receives the table as Markdown, CSV and LaTeX, the plot, and the
records behind them. A second run prints the same table without training.
"""

import pathlib
from typing import TYPE_CHECKING

import ml_collections
from absl import app, flags
from ml_collections import config_flags

from experiments import arguments, program

if TYPE_CHECKING:
  from xdomain.reporting.terminal import Terminal

CONFIG = config_flags.DEFINE_config_file('config', help_string='The table.')
WORKDIR = flags.DEFINE_string('workdir', 'runs', 'The folder of run folders.')
RESULTS = flags.DEFINE_string('results', 'results', 'The folder of the tables.')
LIST = flags.DEFINE_boolean(
  'list', False, 'Only list the tables, their missing runs and the hours they need.'
)
SECONDS = flags.DEFINE_float(
  'checkpoint_seconds', 15.0, 'Seconds between checkpoints.', lower_bound=0.0
)


def main(argv: list[str]) -> None:
  del argv
  with program.running():
    from xdomain.reporting import terminal

    with terminal.opened() as display:
      make(CONFIG.value, display)


def make(config: ml_collections.ConfigDict | None, display: 'Terminal') -> None:
  """Makes the table of a config, or lists tables."""
  from xdomain.reporting import table_config
  from xdomain.runs import data_tables, tables
  from xdomain.runs import spec as specs

  if config and 'method' in config:
    raise specs.SpecError(
      'this is the config of a method; python -m experiments.main runs it'
    )
  elif LIST.value:
    named = [(config.name, config)] if config else every_table()
    named = [
      (n, table_config.from_config(c) if 'methods' in c else None) for n, c in named
    ]
    display.table(tables.overview(named, WORKDIR.value, RESULTS.value))
  elif 'methods' not in config:
    table = data_tables.DataTable(**config.to_dict())
    data_tables.write(table, RESULTS.value, display)
  else:
    table = table_config.from_config(config)
    tables.fill(table, WORKDIR.value, RESULTS.value, display, SECONDS.value)


def every_table():
  """The file and the config of each table of this repository."""
  root = pathlib.Path(__file__).parents[1]
  for path in sorted(root.glob('configs/[a-z]*_*.py')):
    config = arguments.load(str(path))
    if 'method' not in config:
      yield str(path.relative_to(root)), config


if __name__ == '__main__':
  app.run(main, flags_parser=arguments.parse)
