r"""Matrix factorisation with biases, and SVD++, on the target domain alone.

python -m experiments.main --config=configs/biased_mf.py:explicit
python -m experiments.main --config=configs/biased_mf.py:implicit
python -m experiments.main --config=configs/biased_mf.py:explicit,sgd

Under half a minute on two CPU cores. Expected test RMSE on the MovieLens pair: .856
(explicit, with either solver) and .853 (implicit, SVD++). With `:explicit,sgd`, a step
costs in proportion to its ratings instead of to the tables.
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
# The best of three trials, rates .005 and .01 and penalties .07 and .08.
SGD = dict(lr=1e-2, penalty=0.07, penalty_bias=0.07)


def get_config(arg: str | None = None):
  arg = common.parse_arg(
    arg,
    feedback=('explicit', 'implicit'),
    solver=('adam', 'sgd'),
    **common.ARGUMENT,
  )
  config = common.method(
    'biased_mf',
    model=dict(feedback=arg.feedback, factors=64, batch=64),
    hyper=dict(**SELECTED[arg.feedback], penalty_bias=0.01),
    search=SEARCH,
    data=common.data_block(arg),
    **common.length(arg),
  )
  config.name = f'biased_mf_{arg.feedback}'
  if arg.solver == 'sgd':
    config.model.update(solver='sgd', batch=1024)
    config.hyper.update(SGD)
    config.name = f'{config.name}_sgd'
  if arg.quick:
    config.model.update(factors=16, batch=16)
    config.hyper.lr = 1e-2
  return config
