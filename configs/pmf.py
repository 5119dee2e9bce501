r"""PMF on the target domain alone.

python -m experiments.main --config=configs/pmf.py
"""

from configs import common


def get_config(arg=None):
  arg = common.parse_arg(arg, **common.ARGUMENT)
  config = common.method(
    'pmf',
    model=dict(factors=64, batch=1024),
    hyper=dict(lr=1e-3, penalty=0.08, power=1.0, offset=1.0),
    data=common.data_block(arg),
    **common.length(arg),
  )
  if arg.quick:
    config.model.update(factors=16, batch=256)
    config.hyper.lr = 1e-2
  return config
