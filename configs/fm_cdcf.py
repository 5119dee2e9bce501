r"""FM-CDCF: a factorisation machine with the user's source ratings as features.

python -m experiments.main --config=configs/fm_cdcf.py
python -m experiments.main --config=configs/fm_cdcf.py:adam

The default samples the posterior, as libFM does; 'adam' finds one point by gradients.
Two minutes and half a minute on two CPU cores. Expected test RMSE on the MovieLens
pair: .844 and .855.
"""

from configs import common

CENTRES = (0.0, 1.0)
SEARCH = {
  'mcmc': dict(
    hyper=dict(centre=CENTRES, spread=('log', 0.01, 1.0)),
    model=dict(factors=(4, 8, 16, 32)),
  ),
  'adam': dict(
    hyper=dict(lambda_v=('log', 1e-6, 1e-3), centre=CENTRES, lr=('log', 1e-4, 1e-2)),
    model=dict(factors=(4, 8, 16, 32)),
  ),
}
# The best of eight trials on MovieLens (results/searches), with at most 16 factors.
FACTORS, CENTRE = 16, 1.0


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, solver=('mcmc', 'adam'), **common.ARGUMENT)
  return mcmc(arg) if arg.solver == 'mcmc' else adam(arg)


def mcmc(arg: common.Argument):
  config = common.method(
    'fm_cdcf_mcmc',
    model=dict(factors=FACTORS, samples=100),
    hyper=dict(centre=CENTRE, spread=0.1),
    search=SEARCH['mcmc'],
    data=common.data_block(arg),
    epochs=200,  # sweeps, of which the last 100 are averaged
    every=10,
    patience=20,
    **common.rating_terms(arg),
    name='fm_cdcf',
  )
  if arg.quick:
    config.update(epochs=20, every=1)
    config.model.update(factors=8, samples=10)
  return config


def adam(arg: common.Argument):
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
    config.epochs = 200  # epochs are short, and a low learning rate is better
  if arg.quick:
    config.model.update(factors=8, batch=32)
    config.hyper.lr = 1e-2
  return config
