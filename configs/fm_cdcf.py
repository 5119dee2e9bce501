r"""FM-CDCF: a factorisation machine with the user's source ratings as features.

python -m experiments.main --config=configs/fm_cdcf.py
python -m experiments.main --config=configs/fm_cdcf.py:adam

Sampled, as libFM does it, or one point found along the gradient: two minutes
and half a minute on two CPU cores; expect test RMSE .844 and .855 on the
MovieLens pair.
"""

from configs import common

CENTRES = (0.0, 1.0)
SEARCH = {
  'mcmc': dict(
    hyper=dict(centre=CENTRES, spread=(0.1, 0.3)), model=dict(factors=(8, 16))
  ),
  'adam': dict(
    hyper=dict(lambda_v=(2e-5, 4e-5), centre=CENTRES),
    model=dict(factors=(8, 16)),
  ),
}
# The best of them, on MovieLens (results/searches); the sampler is not given
# more factors, of which 32 take twice the time.
FACTORS, CENTRE = 16, 1.0


def get_config(arg=None):
  arg = common.parse_arg(arg, solver=('mcmc', 'adam'), **common.ARGUMENT)
  return mcmc(arg) if arg.solver == 'mcmc' else adam(arg)


def mcmc(arg):
  config = common.method(
    'fm_cdcf_mcmc',
    model=dict(factors=FACTORS, samples=100),
    hyper=dict(centre=CENTRE, spread=0.1),
    search=SEARCH['mcmc'],
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
    search=SEARCH['adam'],
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
