r"""Tables 3 and 4 of SharedVAE: HR and NDCG beside all methods.

python -m experiments.table --config=configs/sharedvae_table4.py
python -m experiments.table --config=configs/sharedvae_table3.py   # Amazon

One hour on two CPU cores.
"""

from typing import Any

from configs import (
  bpr,
  cmf_implicit,
  common,
  conet,
  ease,
  emcdr,
  ials,
  item_knn,
  item_pop,
  mlp,
  mult_vae,
  ridge,
  shared_vae,
)

PAPER = {
  'BPR': 'BPR',
  'CMF': 'CMF',
  'MLP': 'MLP',
  'EMCDR': 'EMCDR',
  'CoNet': 'CONET',
  'SharedVAE': 'Proposed',
}
ROWS = {
  'BPR': (bpr,),
  'CMF': (cmf_implicit,),
  'MLP': (mlp,),
  'EMCDR': (emcdr,),
  'CoNet': (conet,),
  'SharedVAE': (shared_vae,),
}
BESIDE = {  # not in the paper's tables
  'SCoNet': (conet, 'sconet'),
  'BPR, target alone': (bpr, 'alone'),
  'item popularity': (item_pop,),
  'item kNN': (item_knn,),
  'EASE': (ease,),
  'implicit ALS': (ials,),
  'Mult-VAE': (mult_vae,),
  'ridge from the source': (ridge,),
}


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, **common.TABLE_ARGUMENT)
  return table('sharedvae_table4', arg)


def table(name: str, arg: common.Argument, **settings: Any):
  """Returns Table 3 or Table 4, by data set."""
  column, number = {
    'movielens': ('MovieLens', 'table4'),
    'amazon': ('Amazon', 'table3'),
    'tables': ('own files', None),
    'synthetic': ('planted', None),
  }[arg.data]
  return common.table(
    name,
    arg,
    title='SharedVAE, Tables 3 and 4: HR and NDCG on the target domain',
    note='One held-out item of each user is ranked among 99 sampled negatives and in'
    " the full catalogue. The rows from SCoNet on are not in the paper's tables.",
    rows=ROWS | BESIDE,
    columns={column: {}},
    measures=common.RANKING,
    paper=common.ranked_in_paper(number, PAPER, column) if number else {},
    data=common.implicit_block(arg),
    **settings,
  )
