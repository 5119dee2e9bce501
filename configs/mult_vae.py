r"""Mult-VAE on both domains merged.

python -m experiments.main --config=configs/mult_vae.py
python -m experiments.main --config=configs/mult_vae.py:alone
python -m experiments.main --config=configs/mult_vae.py:cold

A minute on two CPU cores. Expected test HR@10 and NDCG@10 on MovieLens: .764 and .493.
"""

from configs import common

SEARCH = dict(
  hyper=dict(
    lr=('log', 1e-4, 1e-2), kl=('log', 0.03, 3.0), dropout=('linear', 0.0, 0.9)
  ),
  model=dict(latent=(50, 100, 200)),
)
# The best of eight trials on MovieLens (results/searches).
SELECTED = dict(lr=1e-3, kl=0.5, anneal=20.0, dropout=0.3)


def get_config(arg: str | None = None):
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
