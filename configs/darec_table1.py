r"""Table 1 of DARec: counts of users, items and ratings.

python -m experiments.table --config=configs/darec_table1.py
python -m experiments.table --config=configs/darec_table1.py:amazon

The MovieLens pair by default; `:amazon` counts the paper's four pairs.
"""

from configs import common


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, data=('movielens', 'amazon'))
  data, paper = {'MovieLens': common.data('movielens')}, {}
  if arg.data == 'amazon':
    rows = common.paper('darec')['table1']['rows']
    data = {f'pair {row["no"]}': common.data('amazon', pair=row['no']) for row in rows}
    paper = {f'pair {row["no"]}': _printed(row) for row in rows}
  return common.statistics(
    'darec_table1',
    arg,
    title='DARec, Table 1: the data',
    data=data,
    paper=paper,
  )


def _printed(row):
  counts = {'shared_users': row['shared_users']}
  for domain in ('source', 'target'):
    for what in ('items', 'ratings'):
      counts[f'{domain}_{what}'] = row[domain][what]
  return counts
