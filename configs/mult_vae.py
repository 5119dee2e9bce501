r"""Mult-VAE on both domains merged.

python -m experiments.main --config=configs/mult_vae.py
python -m experiments.main --config=configs/mult_vae.py:alone
python -m experiments.main --config=configs/mult_vae.py:cold

A minute on two CPU cores. Expected test HR@10 and NDCG@10 on MovieLens: .764 and .493.
"""

from configs import common

SEARCH = dict(hyper=dict(lr=(5e-4, 1e-3), kl=(0.2, 0.5), dropout=(0.3, 0.5)))
# The best of SEARCH on MovieLens, seed 0, by validation NDCG@10 of every second epoch.
SELECTED = dict(lr=1e-3, kl=0.5, anneal=20.0, dropout=0.3)


def get_config(arg=None):
  arg = common.parse_arg(arg, view=common.ONE_DOMAIN, **common.BASELINE_ARGUMENT)
  return common.ranking_baseline(
    'mult_vae',
    arg,
    view=arg.view,
    model=dict(hidden=(600,), latent=200, batch=128),
    hyper=SELECTED,
    search=SEARCH,
    epochs=100,
    patience=10,
    every=5 if arg.cold else 1,  # 14,000 cold-start queries are slow to validate
  )
