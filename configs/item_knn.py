r"""Item-item nearest neighbours by cosine, on both domains as one.

python -m experiments.main --config=configs/item_knn.py
python -m experiments.main --config=configs/item_knn.py:alone
python -m experiments.main --config=configs/item_knn.py:cold

Seconds on two CPU cores; expect test HR@10 .698 and NDCG@10 .410 on MovieLens.
"""

from configs import common

SEARCH = dict(
  hyper=dict(shrink=(0.0, 10.0, 30.0, 100.0)),
  model=dict(neighbours=(200, 2562)),  # 2562: all, on MovieLens
)
# The best of it, on MovieLens, seed 0, by validation NDCG@10; a shrinkage of 10
# does as well.
NEIGHBOURS, SHRINK = 200, 0.0


def get_config(arg=None):
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
