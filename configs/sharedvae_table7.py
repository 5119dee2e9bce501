r"""Tables 6 and 7 of SharedVAE: cold-start users.

python -m experiments.table --config=configs/sharedvae_table7.py
python -m experiments.table --config=configs/sharedvae_table6.py   # Amazon

Half an hour on two CPU cores.
"""

from typing import Any

from configs import (
  bpr,
  common,
  ease,
  emcdr,
  item_pop,
  mlp,
  ridge,
  shared_vae,
)

PAPER = {'BPR': 'BPR', 'MLP': 'MLP', 'EMCDR': 'EMCDR', 'SharedVAE': 'Proposed'}
ROWS = {
  'BPR': (bpr, 'cold'),
  'MLP': (mlp, 'cold'),
  'EMCDR': (emcdr, 'cold'),
  'SharedVAE': (shared_vae, 'cold'),
}
BESIDE = {  # not in the paper's tables
  'SharedVAE, generic': (shared_vae, 'generic'),
  'item popularity': (item_pop, 'cold'),
  'EASE': (ease, 'cold'),
  'ridge from the source': (ridge, 'cold'),
}


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, **common.TABLE_ARGUMENT)
  return table('sharedvae_table7', arg)


def table(name: str, arg: common.Argument, **settings: Any):
  """Returns Table 6 or Table 7, by data set."""
  column, number = {
    'movielens': ('MovieLens', 'table7'),
    'amazon': ('Amazon', 'table6'),
    'tables': ('own files', None),
    'synthetic': ('planted', None),
  }[arg.data]
  return common.table(
    name,
    arg,
    title='SharedVAE, Tables 6 and 7: HR and NDCG for cold-start users',
    note='A tenth of the users are test users: all of their target positives are'
    ' held out. generic is the model of Table 4 on the same users.',
    rows=ROWS | BESIDE,
    columns={column: {}},
    measures=common.RANKING,
    paper=common.ranked_in_paper(number, PAPER, column) if number else {},
    data=common.implicit_block(arg),
    **settings,
  )
