r"""U-RBM and I-RBM on the target domain alone.

python -m experiments.main --config=configs/rbm.py:item
python -m experiments.main --config=configs/rbm.py:user

Minutes on two CPU cores. Expected test RMSE on the MovieLens pair: .869 (item) and
.877 (user).
"""

from configs import common

SEARCH = {
  'item': dict(
    hyper=dict(lr=('log', 1e-4, 1e-2), decay=('log', 1e-4, 0.1)),
    model=dict(hidden=(100, 200, 300, 500)),
  ),
}
SEARCH['user'] = SEARCH['item']
# The best of eight trials on MovieLens (results/searches). Steps and batch were chosen
# before, on validation data.
SELECTED = {
  'item': (dict(hidden=500), dict(decay=5e-3)),
  'user': (dict(hidden=200), dict(decay=2e-3)),
}


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, axis=('item', 'user'), **common.ARGUMENT)
  model, hyper = SELECTED[arg.axis]
  # A scale other than 1 to 5 needs other `levels`, `lowest` and `step`.
  config = common.method(
    'rbm',
    model=dict(
      axis=arg.axis,
      steps=(1,),
      batch=100,
      levels=5,
      lowest=1.0,
      step=1.0,
      **model,
    ),
    hyper=dict(lr=1e-3, **hyper),
    search=SEARCH[arg.axis],
    data=common.data_block(arg),
    **common.length(arg),
  )
  config.name = f'rbm_{arg.axis}'
  if arg.quick:
    config.model.update(hidden=20, batch=20)
    config.hyper.lr = 1e-2
  return config
