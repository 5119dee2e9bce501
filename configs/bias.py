r"""Mean + user bias + item bias, the floor of every rating table.

python -m experiments.main --config=configs/bias.py

Seconds on two CPU cores. Expected test RMSE on the MovieLens pair: .906.
"""

from configs import common

SEARCH = dict(hyper=dict(penalty=(1.0, 2.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0)))
PENALTY = 4.0  # the best of SEARCH on MovieLens, seed 0, by validation RMSE


def get_config(arg=None):
  arg = common.parse_arg(arg, **common.ARGUMENT)
  return common.method(
    'bias',
    model=dict(),
    hyper=dict(penalty=PENALTY),
    search=SEARCH,
    data=common.data_block(arg),
    **common.length(arg),
  )
