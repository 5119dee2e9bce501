r"""Ranking methods with one budget, searched on each split; Kernel-ALS is ours.

python -m experiments.table --config=configs/ranking_table.py
python -m experiments.table --config=configs/ranking_table.py:cold
python -m experiments.table --config=configs/ranking_table.py:tables \
  --config.data.source=films.csv --config.data.target=books.csv

Each row is searched on each of three splits with the same number of trials. An hour on
two CPU cores for MovieLens; it resumes where it was stopped.
"""

from configs import (
  bpr,
  common,
  ease,
  edlae,
  ials,
  item_knn,
  item_pop,
  kernel_als,
  low_rank_ridge,
  mult_vae,
  ntk_ridge,
  ridge,
  shared_vae,
)

TRIALS = 8  # of a row on each split
ROWS = {
  'Kernel-ALS (ours)': (kernel_als,),
  'NTK ridge': (ntk_ridge,),
  'EDLAE': (edlae,),
  'EASE': (ease,),
  'EASE, target alone': (ease, 'alone'),
  'implicit ALS': (ials,),
  'item kNN': (item_knn,),
  'item popularity': (item_pop,),
  'BPR': (bpr,),
  'Mult-VAE': (mult_vae,),
  'SharedVAE': (shared_vae,),
}
COLD_ROWS = {
  'Kernel-ALS (ours)': (kernel_als, 'cold'),
  'low-rank ridge': (low_rank_ridge, 'cold'),
  'ridge from the source': (ridge, 'cold'),
  'NTK ridge': (ntk_ridge, 'cold'),
  'EASE': (ease, 'cold'),
  'implicit ALS': (ials, 'cold'),
  'item kNN': (item_knn, 'cold'),
  'item popularity': (item_pop, 'cold'),
  'BPR': (bpr, 'cold'),
  'Mult-VAE': (mult_vae, 'cold'),
  'SharedVAE, cold-start form': (shared_vae, 'cold'),
}


def get_config(arg=None):
  arg = common.parse_arg(arg, cold=False, **common.TABLE_ARGUMENT)
  column = {'movielens': 'MovieLens', 'amazon': 'Amazon', 'tables': 'own files'}
  config = common.table(
    'ranking_table',
    arg,
    title='Ranking methods with one budget'
    + ' for users without a target history' * arg.cold,
    note=f'Each row was searched on each split with {TRIALS} trials, by NDCG@10 of the'
    ' validation items in the full catalogue. Held-out items are ranked among 99'
    ' sampled negatives and in the full catalogue.',
    rows=COLD_ROWS if arg.cold else ROWS,
    columns={column.get(arg.data, arg.data): {}},
    measures=common.RANKING,
    data=common.implicit_block(arg),
    seeds=(0,) if arg.quick else (0, 1, 2),
    tune=not arg.quick,
  )
  if arg.cold:
    config.name = config.name.replace('ranking', 'ranking_cold', 1)
    start, _, words = config.command.partition(':')
    config.command = f'{start}:{",".join(filter(None, ("cold", words)))}'
    config.plain.name = config.name
  for row in config.methods.values():
    row.search.update(trials=TRIALS, minutes=60.0)
  return config
