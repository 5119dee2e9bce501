r"""CoNet for ratings, on both domains.

python -m experiments.main --config=configs/conet_rating.py
python -m experiments.main --config=configs/conet_rating.py:random

The default pairs each target rating with a source rating of the same user; 'random' is
the authors' pairing.

A minute on two CPU cores. Expected test RMSE on the MovieLens pair: .868 (user) and
.869 (random).
"""

from configs import common

SEARCH = dict(
  hyper=dict(lr=('log', 3e-4, 3e-2), l1=('log', 1e-3, 1.0), l2=('log', 1e-6, 1e-2))
)
# The best of eight trials on MovieLens (results/searches); for random, of a sweep.
SELECTED = {
  'user': dict(lr=3e-3, l2=2e-4, l1=0.01),
  'random': dict(lr=3e-3, l2=3e-4, l1=0.01),
}


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, pairing=('user', 'random'), **common.ARGUMENT)
  config = common.method(
    'conet_rating',
    model=dict(
      embed=32,
      layers=(32, 16, 8),
      cross_layers=2,
      pairing=arg.pairing,
      inference='tower',
      batch=1024,
    ),
    hyper=dict(source=1.0, target=1.0, drop_cross=0.5, **SELECTED[arg.pairing]),
    search=SEARCH,
    data=common.data_block(arg),
    **common.length(arg),
  )
  if arg.pairing != 'user':
    config.name = f'conet_rating_{arg.pairing}'
  if arg.quick:
    config.model.update(embed=8, layers=(8, 4), batch=128)
  return config
