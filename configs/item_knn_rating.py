r"""Item-item nearest neighbours on the target domain, around the bias model.

python -m experiments.main --config=configs/item_knn_rating.py

Half a minute on two CPU cores. Expected test RMSE on the MovieLens pair: .865.
"""

from configs import common

SEARCH = dict(
  hyper=dict(shrink=('log', 10.0, 1e4), penalty=('log', 0.1, 100.0)),
  model=dict(neighbours=(10, 20, 50, 100)),
)
# The best of eight trials on MovieLens (results/searches); the penalty is that of
# configs/bias.py.
NEIGHBOURS, SHRINK = 50, 1000.0


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, **common.ARGUMENT)
  config = common.method(
    'item_knn_rating',
    model=dict(neighbours=NEIGHBOURS, kept=1000, batch=128),
    hyper=dict(shrink=SHRINK, penalty=4.0),
    search=SEARCH,
    data=common.data_block(arg),
    **common.length(arg),
  )
  config.patience = 2  # the neighbours need one epoch
  return config
