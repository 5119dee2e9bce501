r"""ItemPop: the items that most people have, the floor of every ranking.

python -m experiments.main --config=configs/item_pop.py
python -m experiments.main --config=configs/item_pop.py:cold

Seconds on two CPU cores; there is nothing to choose.
"""

from configs import common


def get_config(arg=None):
  arg = common.parse_arg(arg, **common.BASELINE_ARGUMENT)
  return common.ranking_baseline(
    'item_pop', arg, model=dict(), hyper=dict(), epochs=1, patience=1
  )
