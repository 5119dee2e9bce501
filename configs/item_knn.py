r"""Item-item nearest neighbours by cosine, on both domains merged.

python -m experiments.main --config=configs/item_knn.py
python -m experiments.main --config=configs/item_knn.py:alone
python -m experiments.main --config=configs/item_knn.py:cold

Seconds on two CPU cores. Expected test HR@10 and NDCG@10 on MovieLens: .698 and .410.
"""

from configs import common

SEARCH = dict(
  hyper=dict(shrink=('log', 1.0, 1e3)),
  model=dict(neighbours=(20, 50, 100, 200, 500, 1000, 2562)),
)
# The best of eight trials on MovieLens (results/searches); a shrinkage of 10 is as
# good.
NEIGHBOURS, SHRINK = 200, 0.0


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, view=common.ONE_DOMAIN, **common.BASELINE_ARGUMENT)
  return common.ranking_baseline(
    'item_knn',
    arg,
    view=arg.view,
    model=dict(neighbours=NEIGHBOURS, batch=128),
    hyper=dict(shrink=SHRINK),
    search=SEARCH,
    epochs=1,
    patience=1,
  )
