r"""I-CF-NADE and U-CF-NADE on the target domain alone.

python -m experiments.main --config=configs/cf_nade.py:item
python -m experiments.main --config=configs/cf_nade.py:user

Minutes on two CPU cores: an epoch visits every (rating, level, hidden unit).
"""

from configs import common

SEARCH = dict(hyper=dict(lr=(1.5e-3, 3e-3), decay=(1e-3, 5e-3, 1e-2, 2e-2)))
# Of other runs on MovieLens, seed 0, by validation RMSE: (lr, decay, batch), of
# hidden 200 unless said; runs by hand differ in length; those without a mark
# had polyak .99.
#   item (3e-3, .01, 128) .8556, (2e-3, .01, 64) .8560, (3e-3, .005, 128) .8573,
#   (3e-3, .02, 128) with polyak .995 .8579, (3e-3, .001, 128) .8613,
#   (1e-3, .005, 128) .8620, (1e-3, .02, 128) .8675; (3e-3, .01, 128) with
#   regular 1 .8592; hidden 500, (2e-3, .01, 128) .8552 and (2e-3, .005, 128)
#   .8580, for more than twice the time
#   user (3e-3, .01, 128) .8750, (3e-3, .005, 128) .8756, (2e-3, .02, 128)
#   .8809; and of six, (1.5e-3, .01) .8662:
#     --config.sweep.hyper.lr='(1.5e-3, 4.5e-3)'
#     --config.sweep.hyper.decay='(5e-3, 1e-2, 2e-2)'
SELECTED = {
  'item': dict(lr=3e-3, decay=0.01),
  'user': dict(lr=1.5e-3, decay=0.01),
}


def get_config(arg=None):
  arg = common.parse_arg(arg, axis=('item', 'user'), **common.ARGUMENT)
  # Ratings other than 1 to 5 need `levels`, `lowest` and `step` of their own.
  config = common.method(
    'cf_nade',
    model=dict(
      axis=arg.axis, hidden=200, batch=128, levels=5, lowest=1.0, step=1.0
    ),
    hyper=dict(regular=0.0, ordinal=1.0, polyak=0.99, **SELECTED[arg.axis]),
    search=SEARCH,
    data=common.data_block(arg),
    **common.length(arg),
  )
  config.name = f'cf_nade_{arg.axis}'
  if arg.quick:
    config.model.update(hidden=50, batch=32)
    config.hyper.lr = 1e-2
  return config
