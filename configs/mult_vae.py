r"""Mult-VAE, on both domains as one.

python -m experiments.main --config=configs/mult_vae.py
python -m experiments.main --config=configs/mult_vae.py:alone
python -m experiments.main --config=configs/mult_vae.py:cold
"""

from configs import common

VARIANTS = ('merged', 'alone')


def get_config(arg=None):
  arg = common.parse_arg(arg, variant=VARIANTS, **common.BASELINE_ARGUMENT)
  return common.ranking_baseline(
    'mult_vae',
    arg,
    name='mult_vae' if arg.variant == 'merged' else 'mult_vae_alone',
    view=arg.variant,
    model=dict(hidden=(600,), latent=200, batch=128),
    hyper=dict(lr=1e-3, kl=0.2, anneal=20.0, dropout=0.5),
    epochs=100,
    patience=10,
  )
