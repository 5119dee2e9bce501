r"""FM-CDCF: a factorisation machine with the user's source ratings as features.

python -m experiments.main --config=configs/fm_cdcf.py
python -m experiments.main --config=configs/fm_cdcf.py --config.hyper.centre=0

Half a minute on two CPU cores; expect test RMSE .855 on the MovieLens pair, and
.863 of the second command, which leaves the source ratings as published.
"""

from configs import common

# Of factors (8, 16) x lambda_v (2e-5, 4e-5) x centre (0, 1), on MovieLens, seed
# 0, by validation RMSE:
#   --config.model.factors=8
#   --config.sweep.hyper.lambda_v='(2e-5, 4e-5)'
#   --config.sweep.hyper.centre='(0.0, 1.0)'
FACTORS, SELECTED = 16, dict(lambda_v=4e-5, centre=1.0)


def get_config(arg=None):
  arg = common.parse_arg(arg, **common.ARGUMENT)
  config = common.method(
    'fm_cdcf',
    model=dict(factors=FACTORS, batch=64),
    hyper=dict(lr=3e-3, lambda_w=1e-6, **SELECTED),
    data=common.data_block(arg),
    **common.length(arg),
  )
  if not arg.quick and not arg.full:
    config.epochs = 200  # They are short, and a low rate does better.
  if arg.quick:
    config.model.update(factors=8, batch=32)
    config.hyper.lr = 1e-2
  return config
