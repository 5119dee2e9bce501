r"""CMF over both domains, by gradient or by alternating least squares.

python -m experiments.main --config=configs/cmf.py:adam
python -m experiments.main --config=configs/cmf.py:als

Half a minute on two CPU cores. Expected test RMSE on the MovieLens pair: .859 (adam)
and .858 (als).
"""

from configs import common

SEARCH = dict(
  hyper=dict(alpha=('linear', 0.0, 1.0), penalty=('log', 0.3, 100.0)),
  model=dict(factors=(8, 16, 32, 64)),
)
# The best of eight trials with either solver on MovieLens (results/searches).
FACTORS, SELECTED = 8, dict(alpha=0.5, penalty=3.0)


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, solver=('adam', 'als'), **common.ARGUMENT)
  config = common.method(
    'cmf',
    model=dict(solver=arg.solver, factors=FACTORS, batch=64),
    hyper=dict(lr={'adam': 6e-3, 'als': 1.0}[arg.solver], **SELECTED, offset=1.0),
    search=SEARCH,
    data=common.data_block(arg),
    **common.length(arg),
  )
  config.name = f'cmf_{arg.solver}'
  if arg.quick:
    config.model.batch = 16
  return config
