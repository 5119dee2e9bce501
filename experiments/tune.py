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

import pathlib

from absl import app, flags
from ml_collections import config_flags

from experiments import arguments, program

CONFIG = config_flags.DEFINE_config_file('config', help_string='The config.')
WORKDIR = flags.DEFINE_string('workdir', 'runs', 'The folder of run folders.')
SEEDS = flags.DEFINE_integer(
  'seeds', 5, 'The number of seeds that are tuned and tested.', lower_bound=0
)
KEEP = flags.DEFINE_string(
  'keep', '', 'A folder of searches: the search is kept there, or read from it.'
)


def main(argv: list[str]) -> None:
  del argv
  with program.running():
    from xdomain.reporting import terminal
    from xdomain.runs import spec as specs
    from xdomain.runs import tuned

    with terminal.opened() as display:
      tuned.on_seeds(
        specs.from_config(CONFIG.value),
        SEEDS.value,
        pathlib.Path(WORKDIR.value),
        display,
        KEEP.value,
      )


if __name__ == '__main__':
  app.run(main, flags_parser=arguments.parse)
