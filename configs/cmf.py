r"""CMF over both domains, by gradient or by alternating least squares.

python -m experiments.main --config=configs/cmf.py:adam
python -m experiments.main --config=configs/cmf.py:als

Under a minute on two CPU cores; expect test RMSE .871 (adam) and .876 (als) on
the MovieLens pair.
"""

from configs import common


def get_config(arg=None):
  arg = common.parse_arg(arg, solver=('adam', 'als'), **common.ARGUMENT)
  config = common.method(
    'cmf',
    model=dict(solver=arg.solver, factors=32, batch=64),
    # The same of eight trials with either solver, on MovieLens, seed 0, by
    # validation RMSE:
    #   --config.sweep.hyper.alpha='(0.1, 0.3, 0.5, 0.7)'
    #   --config.sweep.hyper.penalty='(7.0, 10.0)'
    hyper=dict(
      lr={'adam': 3e-3, 'als': 1.0}[arg.solver], alpha=0.5, penalty=7.0,
      offset=1.0,
    ),
    data=common.data_block(arg),
    **common.length(arg),
  )  # fmt: skip
  config.name = f'cmf_{arg.solver}'
  if arg.quick:
    config.model.update(factors=8, batch=16)
  return config
