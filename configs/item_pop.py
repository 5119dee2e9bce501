r"""ItemPop: the items that most people have, the floor of every ranking.

python -m experiments.main --config=configs/item_pop.py
python -m experiments.main --config=configs/item_pop.py:cold

Seconds on two CPU cores; there is nothing to choose. Expect test HR@10 .628 and
NDCG@10 .366 on MovieLens, .588 and .342 of people who are new.
"""

from configs import common


def get_config(arg=None):
  arg = common.parse_arg(arg, **common.BASELINE_ARGUMENT)
  return common.ranking_baseline(
    'item_pop', arg, model=dict(), hyper=dict(), epochs=1, patience=1
  )
