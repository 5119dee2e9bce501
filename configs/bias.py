r"""Mean + user bias + item bias, the floor that any network must beat.

python -m experiments.main --config=configs/bias.py

Seconds on two CPU cores; expect test RMSE .906 on the MovieLens pair. The
penalty is of (1, 2, 4, 6, 8, 12, 16), by validation RMSE on seed 0.
"""

from configs import common


def get_config(arg=None):
  arg = common.parse_arg(arg, **common.ARGUMENT)
  return common.method(
    'bias',
    model=dict(),
    hyper=dict(penalty=4.0),
    data=common.data_block(arg),
    **common.length(arg),
  )
