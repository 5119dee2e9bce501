r"""Kernel-ALS, our method for rankings, beside every other ranking method.

python -m experiments.table --config=configs/ranking_table.py
python -m experiments.table --config=configs/ranking_table.py:cold
python -m experiments.table --config=configs/ranking_table.py:time
python -m experiments.table --config=configs/ranking_table.py:tables \
  --config.data.source=films.csv --config.data.target=books.csv

On a random split of MovieLens, the rows of SharedVAE's Tables 4 and 7 are the runs of
these tables, and the other rows have the same budget: eight trials on the split of seed
0. By time and on other data each row is searched once, with 64 trials or 8 minutes of
two cores, on data without the test items of all seeds.
"""

from configs import (
  common,
  edlae,
  kernel_als,
  low_rank_ridge,
  ntk_ridge,
  sharedvae_table4,
  sharedvae_table7,
)

SEARCHED = (
  'The settings of a row are the best of eight trials on validation items of seed 0.'
)
ROWS = {
  'Kernel-ALS (ours)': (kernel_als,),
  'NTK ridge': (ntk_ridge,),
  'EDLAE': (edlae,),
  **sharedvae_table4.ROWS,
  **sharedvae_table4.BESIDE,
}
COLD_ROWS = {
  'Kernel-ALS (ours)': (kernel_als, 'cold'),
  'low-rank ridge': (low_rank_ridge, 'cold'),
  'NTK ridge': (ntk_ridge, 'cold'),
  **sharedvae_table7.ROWS,
  **sharedvae_table7.BESIDE,
}


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, cold=False, time=False, **common.TABLE_ARGUMENT)
  as_before = arg.data == 'movielens' and not arg.time
  column = {'movielens': 'MovieLens', 'amazon': 'Amazon', 'tables': 'own files'}
  config = common.table(
    'ranking_table',
    arg,
    title='Kernel-ALS beside the other ranking methods'
    + ' for users without a target history' * arg.cold
    + ', by time' * arg.time,
    note=(SEARCHED if as_before else common.SEARCHED)
    + ' Held-out items are ranked among 99 sampled negatives and in the full'
    ' catalogue.' + common.by_time(arg),
    rows=COLD_ROWS if arg.cold else ROWS,
    columns={column.get(arg.data, arg.data): {}},
    measures=common.RANKING,
    data=common.implicit_block(arg),
    tune=not as_before and not arg.quick,
  )
  if arg.cold:
    config.name = config.name.replace('ranking', 'ranking_cold', 1)
    start, _, words = config.command.partition(':')
    config.command = f'{start}:{",".join(filter(None, ("cold", words)))}'
    config.plain.name = config.name
  return config
