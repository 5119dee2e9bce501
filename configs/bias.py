r"""Mean + user bias + item bias, the floor of every rating table.

python -m experiments.main --config=configs/bias.py

Seconds on two CPU cores. Expected test RMSE on the MovieLens pair: .906.
"""

from configs import common

SEARCH = dict(hyper=dict(penalty=('log', 0.1, 100.0)))
PENALTY = 4.0  # the best of eight trials on MovieLens (results/searches)


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, **common.ARGUMENT)
  return common.method(
    'bias',
    model=dict(),
    hyper=dict(penalty=PENALTY),
    search=SEARCH,
    data=common.data_block(arg),
    **common.length(arg),
  )
