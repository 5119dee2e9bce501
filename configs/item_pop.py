r"""ItemPop: the most popular items for every user, the floor of every ranking.

python -m experiments.main --config=configs/item_pop.py
python -m experiments.main --config=configs/item_pop.py:cold

Seconds on two CPU cores; there is nothing to tune. Expected test HR@10 and NDCG@10 on
MovieLens: .628 and .366; for cold-start users .588 and .342.
"""

from configs import common


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, **common.BASELINE_ARGUMENT)
  return common.ranking_baseline(
    'item_pop', arg, model=dict(), hyper=dict(), epochs=1, patience=1
  )
