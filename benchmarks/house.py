r"""Retrains cells of the tables: the networks of today against the kept records.

python -m benchmarks.house
python -m benchmarks.house --cells=mlp,conet --seeds=2 --workdir=/tmp/house

The records in `results/` were left by an earlier form of the networks, with other
initial draws. A cell of each network is trained again with the settings, the data
and the seeds of its records. A seed agrees if its test measure lies within the
95 % interval over users of its record. Finished runs are read from their folders, so
the command can be interrupted and repeated.
"""

import pathlib
from typing import NamedTuple

import numpy as np
from absl import app, flags, logging

RESULTS = pathlib.Path(__file__).parent.parent / 'results'


class Cell(NamedTuple):
  """The records of a name in a kept table, and the measure that they are judged by."""

  table: str
  name: str
  measure: str


RMSE, NDCG = 'rmse', 'sampled ndcg@10'
CELLS = {
  'autorec_item': Cell('darec_ablation', 'autorec_item', RMSE),
  'mlp': Cell('sharedvae_table4', 'mlp', NDCG),
  'conet': Cell('sharedvae_table4', 'conet', NDCG),
  'emcdr': Cell('sharedvae_table4', 'emcdr', NDCG),
  'conet_rating': Cell('darec_table2', 'conet_rating', RMSE),
  'shared_vae': Cell('sharedvae_table4', 'shared_vae', NDCG),
  'single_vae': Cell('sharedvae_figure3', 'shared_vae_single', NDCG),
  'shared_vae_aux': Cell('sharedvae_table8', 'shared_vae_aux', NDCG),
  'shared_vae_cold': Cell('sharedvae_table7', 'shared_vae_cold', NDCG),
  'autorec_user': Cell('darec_ablation', 'autorec_user', RMSE),
  'darec_item': Cell('darec_figure3', 'darec_item', RMSE),
  'darec_user': Cell('darec_figure3', 'darec_user', RMSE),
  'mult_vae': Cell('sharedvae_table4', 'mult_vae', NDCG),
  'cf_nade_item': Cell('darec_figure3', 'cf_nade_item', RMSE),
  'cf_nade_user': Cell('darec_figure3', 'cf_nade_user', RMSE),
}
CHOSEN = flags.DEFINE_list('cells', list(CELLS), 'Which cells.')
SEEDS = flags.DEFINE_integer('seeds', 5, 'Seeds of each.', lower_bound=1)
WORKDIR = flags.DEFINE_string('workdir', 'runs/house', 'Where run folders go.')


def kept(cell: Cell) -> list[dict]:
  """The records of a cell on MovieLens, by seed; those of one setting."""
  from xdomain.reporting import records

  path = RESULTS / cell.table / 'records.jsonl.xz'
  every = [
    record
    for record in records.read(path)
    if record['name'] == cell.name
    and record['config']['data']['kind'].startswith('movielens')
  ]
  setting = [(r['hyper'], r['config']['split'], r['config']['model']) for r in every]
  alike = [record for record, one in zip(every, setting) if one == setting[0]]
  return sorted(alike, key=lambda record: record['seed'])


def retrained(record: dict, workdir: pathlib.Path) -> dict:
  """The record of the same run by today's code."""
  from xdomain.runs import prepare, run, store
  from xdomain.runs import spec as specs

  spec = specs.from_config(
    record['config']
    | {'hyper': record['hyper'], 'seed': record['seed'], 'sweep': {}, 'search': {}}
  )
  prepared = prepare.prepare(spec, lambda line: None)
  if prepared.hashes != record['hashes']:
    raise ValueError(f'{spec.name}, seed {spec.seed}: not the data of the record')
  folder = store.folder_of(spec, workdir)
  (again,) = run.run(spec, prepared, folder, watch=lambda report: None)
  return again


def row(name: str, count: int, workdir: pathlib.Path) -> list[str]:
  """The cells of one network's row."""
  from xdomain.reporting import records

  cell = CELLS[name]
  before = kept(cell)[:count]
  after = [retrained(record, workdir) for record in before]
  old, new = (
    np.array(records.values(several, cell.measure)) for several in (before, after)
  )
  intervals = [records.user_interval(r, cell.measure) for r in before]
  low, high = np.array(intervals, np.float64).T
  agrees = np.sum((low <= new) & (new <= high))
  return [
    name,
    cell.measure,
    f'{old.mean():.4f}',
    f'{low.mean():.4f} to {high.mean():.4f}',
    f'{new.mean():.4f}',
    f'{(new - old).mean():+.4f}',
    f'{agrees} of {len(before)}',
  ]


COLUMNS = (
  'network',
  'measure',
  'records',
  'mean interval',
  'today',
  'difference',
  'seeds within',
)


def main(argv):
  del argv
  from xdomain.reporting import render

  logging.set_verbosity(logging.WARNING)

  lines = [render.markdown_row(COLUMNS), render.markdown_row(['---'] * len(COLUMNS))]
  print(*lines, sep='\n', flush=True)
  for name in CHOSEN.value:
    lines.append(
      render.markdown_row(row(name, SEEDS.value, pathlib.Path(WORKDIR.value)))
    )
    print(lines[-1], flush=True)


if __name__ == '__main__':
  app.run(main)
