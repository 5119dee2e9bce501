r"""Item-item nearest neighbours on the target domain, around the bias model.

python -m experiments.main --config=configs/item_knn_rating.py

Half a minute on two CPU cores. Expected test RMSE on the MovieLens pair: .865.
"""

from configs import common

SEARCH = dict(
  hyper=dict(shrink=(30.0, 100.0, 300.0, 1000.0)),
  model=dict(neighbours=(20, 50)),
)
# The best of SEARCH on MovieLens, seed 0, by validation RMSE; the penalty is that of
# configs/bias.py.
NEIGHBOURS, SHRINK = 50, 1000.0


def get_config(arg=None):
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
