r"""CDTF: users, items and domains factorised together.

python -m experiments.main --config=configs/cdtf.py

Half a minute on two CPU cores. Expected test RMSE on the MovieLens pair: .865.
"""

from configs import common

SEARCH = dict(
  hyper=dict(source=('log', 0.01, 1.0), lambda_a=('log', 0.5, 5e4)),
  model=dict(factors=(4, 8, 16, 32)),
)
# The best of eight trials on MovieLens (results/searches); the other penalties are
# those of the authors.
FACTORS, SELECTED = 8, dict(source=1.0, lambda_a=5000.0)


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, **common.ARGUMENT)
  config = common.method(
    'cdtf',
    model=dict(factors=FACTORS, rounds=5),
    hyper=dict(lambda_h=1e-3, lambda_c=1e-3, **SELECTED),
    search=SEARCH,
    data=common.data_block(arg),
    **common.length(arg),
  )
  if not arg.quick and not arg.full:
    config.epochs = 150  # epochs are short, and there is no learning rate to raise
  return config
