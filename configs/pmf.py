r"""PMF on the target domain alone.

python -m experiments.main --config=configs/pmf.py

Half a minute on two CPU cores. Expected test RMSE on the MovieLens pair: .859.
"""

from configs import common

SEARCH = dict(
  hyper=dict(lr=('log', 1e-4, 1e-2), penalty=('log', 3e-3, 1.0), offset=(0.0, 1.0)),
  model=dict(factors=(16, 32, 64, 128)),
)
# The best of eight trials on MovieLens (results/searches).
SELECTED = dict(penalty=0.06, offset=0.0)


def get_config(arg=None):
  arg = common.parse_arg(arg, **common.ARGUMENT)
  config = common.method(
    'pmf',
    model=dict(factors=64, batch=1024),
    hyper=dict(lr=1e-3, power=1.0, **SELECTED),
    search=SEARCH,
    data=common.data_block(arg),
    **common.length(arg),
  )
  if arg.quick:
    config.model.update(factors=16, batch=256)
    config.hyper.update(lr=1e-2, offset=1.0)  # an offset of 0 needs many epochs
  return config
