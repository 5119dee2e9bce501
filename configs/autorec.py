r"""U-AutoRec and I-AutoRec on the target domain alone.

python -m experiments.main --config=configs/autorec.py:item
python -m experiments.main --config=configs/autorec.py:user

Half a minute on two CPU cores. Expected test RMSE on the MovieLens pair: .848 (item)
and .889 (user).
"""

from configs import common

SEARCH = dict(
  hyper=dict(lr=('log', 3e-5, 3e-3), alpha=('log', 1e-5, 1e-2), offset=(0.0, 1.0)),
  model=dict(embed=(100, 200, 500), initial=('glorot', 'small')),
)
# The best of eight trials on MovieLens (results/searches).
SELECTED = {
  'item': dict(alpha=2e-4, offset=1.0),
  'user': dict(alpha=1e-4, offset=0.0),
}


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, axis=('item', 'user'), **common.ARGUMENT)
  config = common.method(
    'autorec',
    model=dict(axis=arg.axis, embed=500, batch=128, initial='small'),
    hyper=dict(lr=1e-3, penalise_bias=1.0, **SELECTED[arg.axis]),
    search=SEARCH,
    data=common.data_block(arg),
    **common.length(arg),
  )
  config.name = f'autorec_{arg.axis}'
  if arg.quick:
    config.model.update(embed=32, batch=32)
    config.hyper.lr = 1e-2
  return config
