r"""Table 2 of SharedVAE: counts of users, items and positives.

python -m experiments.table --config=configs/sharedvae_table2.py
python -m experiments.table --config=configs/sharedvae_table2.py:amazon
"""

from configs import common


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, data=('movielens', 'amazon'))
  name, data = {
    'movielens': ('MovieLens', common.data('movielens_implicit')),
    'amazon': ('Amazon', common.data('amazon_implicit')),
  }[arg.data]
  return common.statistics(
    'sharedvae_table2',
    arg,
    title='SharedVAE, Table 2: the data',
    data={name: data},
    paper={name: _printed(name)},
  )


def _printed(name):
  row = common.paper('sharedvae')['table2']['rows'][name]
  counts = {'shared_users': row['users']}
  for domain in ('source', 'target'):
    counts[f'{domain}_items'] = row[domain]['items']
    counts[f'{domain}_ratings'] = row[domain]['interactions']
  return counts
