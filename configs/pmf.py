r"""PMF on the target domain alone.

python -m experiments.main --config=configs/pmf.py
python -m experiments.main --config=configs/pmf.py:sgd

Half a minute on two CPU cores. Expected test RMSE on the MovieLens pair: .859, and .855
with `:sgd`, whose steps cost in proportion to their ratings instead of to the tables.
"""

from configs import common

SEARCH = dict(
  hyper=dict(lr=('log', 1e-4, 1e-2), penalty=('log', 3e-3, 1.0), offset=(0.0, 1.0)),
  model=dict(factors=(16, 32, 64, 128)),
)
# The best of eight trials on MovieLens (results/searches).
SELECTED = dict(penalty=0.06, offset=0.0)
# That of Surprise for 'sgd'; with twice the rate, validation ends .004 higher.
LR = {'adam': 1e-3, 'sgd': 5e-3}


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, solver=('adam', 'sgd'), **common.ARGUMENT)
  config = common.method(
    'pmf',
    model=dict(factors=64, batch=1024),
    hyper=dict(lr=LR[arg.solver], power=1.0, **SELECTED),
    search=SEARCH,
    data=common.data_block(arg),
    **common.length(arg),
  )
  if arg.solver == 'sgd':
    config.model.solver = 'sgd'
    config.name = 'pmf_sgd'
  if arg.quick:
    config.model.update(factors=16, batch=256)
    config.hyper.update(lr=1e-2, offset=1.0)  # an offset of 0 needs many epochs
  return config
