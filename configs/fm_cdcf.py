r"""FM-CDCF: a factorisation machine with the user's source ratings as features.

python -m experiments.main --config=configs/fm_cdcf.py
python -m experiments.main --config=configs/fm_cdcf.py:adam

Sampled, as libFM does it, or one point found along the gradient.
"""

from configs import common

# The best of eight trials each on MovieLens, seed 0, by validation RMSE. Of the
# sampler (0 and 1 of 8, 16, 24 and 32 factors: .8506 .8503, .8467 .8461, .8467
# .8461):
#   --config.model.factors=16 --config.sweep.hyper.centre='(0.0, 1.0)'
# along the gradient, factors (8, 16) x lambda_v (2e-5, 4e-5) x centre (0, 1):
#   --config.model.factors=8 --config.sweep.hyper.lambda_v='(2e-5, 4e-5)'
#   --config.sweep.hyper.centre='(0.0, 1.0)'
FACTORS, CENTRE = 16, 1.0


def get_config(arg=None):
  arg = common.parse_arg(arg, solver=('mcmc', 'adam'), **common.ARGUMENT)
  return mcmc(arg) if arg.solver == 'mcmc' else adam(arg)


def mcmc(arg):
  config = common.method(
    'fm_cdcf_mcmc',
    model=dict(factors=FACTORS, samples=100),
    hyper=dict(centre=CENTRE, spread=0.1),
    data=common.data_block(arg),
    epochs=200,  # Sweeps; those before the last 100 are not averaged.
    every=10,
    patience=20,
    name='fm_cdcf',
  )
  if arg.quick:
    config.update(epochs=20, every=1)
    config.model.update(factors=8, samples=10)
  return config


def adam(arg):
  config = common.method(
    'fm_cdcf',
    model=dict(factors=FACTORS, batch=64),
    hyper=dict(lr=3e-3, lambda_w=1e-6, lambda_v=4e-5, centre=CENTRE),
    data=common.data_block(arg),
    **common.length(arg),
    name='fm_cdcf_adam',
  )
  if not arg.quick and not arg.full:
    config.epochs = 200  # They are short, and a low rate does better.
  if arg.quick:
    config.model.update(factors=8, batch=32)
    config.hyper.lr = 1e-2
  return config
