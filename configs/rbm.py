r"""U-RBM and I-RBM on the target domain alone.

python -m experiments.main --config=configs/rbm.py:item
python -m experiments.main --config=configs/rbm.py:user

Minutes on two CPU cores.
"""

from configs import common

# Chosen by validation RMSE on MovieLens, seed 0, among a few runs by hand, not
# yet by the eight trials that other methods had: item, hidden 300, decay .003,
# lr (1e-3, 3e-3), steps (1,) and (5,); user, hidden 200, lr 1e-3, decay .003.
HIDDEN = {'item': 300, 'user': 200}


def get_config(arg=None):
  arg = common.parse_arg(arg, axis=('item', 'user'), **common.ARGUMENT)
  config = common.method(
    'rbm',
    model=dict(
      axis=arg.axis,
      hidden=HIDDEN[arg.axis],
      steps=(1,),
      batch=100,
      levels=5,
      lowest=1.0,
      step=1.0,
    ),
    hyper=dict(lr=1e-3, decay=3e-3),
    data=common.data_block(arg),
    **common.length(arg),
  )
  config.name = f'rbm_{arg.axis}'
  if arg.quick:
    config.model.update(hidden=20, batch=20)
    config.hyper.lr = 1e-2
  return config
