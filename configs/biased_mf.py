r"""Matrix factorisation with biases, and SVD++, on the target domain alone.

python -m experiments.main --config=configs/biased_mf.py:explicit
python -m experiments.main --config=configs/biased_mf.py:implicit

Under half a minute on two CPU cores. Expected test RMSE on the MovieLens pair: .856
(explicit) and .853 (implicit, SVD++).
"""

from configs import common

SEARCH = dict(
  hyper=dict(lr=('log', 5e-4, 5e-2), penalty=('log', 0.01, 1.0)),
  model=dict(factors=(16, 32, 64, 128)),
)
# The best of eight trials on MovieLens (results/searches).
SELECTED = {
  'explicit': dict(lr=5e-3, penalty=0.08),
  'implicit': dict(lr=2e-3, penalty=0.1),
}


def get_config(arg=None):
  arg = common.parse_arg(arg, feedback=('explicit', 'implicit'), **common.ARGUMENT)
  config = common.method(
    'biased_mf',
    model=dict(feedback=arg.feedback, factors=64, batch=64),
    hyper=dict(**SELECTED[arg.feedback], penalty_bias=0.01),
    search=SEARCH,
    data=common.data_block(arg),
    **common.length(arg),
  )
  config.name = f'biased_mf_{arg.feedback}'
  if arg.quick:
    config.model.update(factors=16, batch=16)
    config.hyper.lr = 1e-2
  return config
