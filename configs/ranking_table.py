r"""Every ranking method with one budget, searched on each split; Kernel-ALS is ours.

python -m experiments.table --config=configs/ranking_table.py
python -m experiments.table --config=configs/ranking_table.py:cold
python -m experiments.table --config=configs/ranking_table.py:tables \
  --config.data.source=films.csv --config.data.target=books.csv

Each row is searched on each of three splits: at most 64 trials on each, and 8 minutes
of two CPU cores for all of them. Up to three hours; it resumes where it was stopped.
"""

from configs import (
  bpr,
  cmf_implicit,
  common,
  conet,
  ease,
  edlae,
  emcdr,
  ials,
  item_knn,
  item_pop,
  kernel_als,
  low_rank_ridge,
  mlp,
  mult_vae,
  ntk_ridge,
  ridge,
  shared_vae,
)

ROWS = {
  'Kernel-ALS (ours)': (kernel_als,),
  'NTK ridge': (ntk_ridge,),
  'EDLAE': (edlae,),
  'EASE': (ease,),
  'EASE, target alone': (ease, 'alone'),
  'implicit ALS': (ials,),
  'implicit ALS, target alone': (ials, 'alone'),
  'CMF': (cmf_implicit,),
  'item kNN': (item_knn,),
  'item popularity': (item_pop,),
  'ridge from the source': (ridge,),
  'BPR': (bpr,),
  'Mult-VAE': (mult_vae,),
  'SharedVAE': (shared_vae,),
  'EMCDR': (emcdr,),
  'CoNet': (conet,),
  'MLP': (mlp,),
}
COLD_ROWS = {
  'Kernel-ALS (ours)': (kernel_als, 'cold'),
  'low-rank ridge': (low_rank_ridge, 'cold'),
  'ridge from the source': (ridge, 'cold'),
  'NTK ridge': (ntk_ridge, 'cold'),
  'EASE': (ease, 'cold'),
  'implicit ALS': (ials, 'cold'),
  'CMF': (cmf_implicit, 'cold'),
  'item kNN': (item_knn, 'cold'),
  'item popularity': (item_pop, 'cold'),
  'BPR': (bpr, 'cold'),
  'Mult-VAE': (mult_vae, 'cold'),
  'SharedVAE, cold-start form': (shared_vae, 'cold'),
  'EMCDR': (emcdr, 'cold'),
  'MLP': (mlp, 'cold'),
}


def get_config(arg=None):
  arg = common.parse_arg(arg, cold=False, **common.TABLE_ARGUMENT)
  column = {'movielens': 'MovieLens', 'amazon': 'Amazon', 'tables': 'own files'}
  return common.table(
    'ranking_cold_table' if arg.cold else 'ranking_table',
    arg,
    title='Ranking methods with one budget'
    + ' for users without a target history' * arg.cold,
    note='Each row was searched on each split: at most 64 trials, and 8 minutes of two'
    ' cores for all splits together. Held-out items are ranked among 99 sampled'
    ' negatives and in the full catalogue.',
    rows=COLD_ROWS if arg.cold else ROWS,
    columns={column.get(arg.data, arg.data): {}},
    measures=common.RANKING,
    data=common.implicit_block(arg),
    seeds=(0,) if arg.quick else (0, 1, 2),
    tune=not arg.quick,
  )
