r"""MLP (NCF) on both domains merged, or on the target alone.

python -m experiments.main --config=configs/mlp.py
python -m experiments.main --config=configs/mlp.py:alone
python -m experiments.main --config=configs/mlp.py:cold

A minute on one CPU core. Expected test HR@10 and NDCG@10 on the MovieLens pair: .741
and .482; for cold-start users .635 and .374.
"""

from configs import common

COLD_SEARCH = dict(
  model=dict(embed=(8, 16, 32, 64)),
  hyper=dict(lr=('log', 3e-4, 3e-2), l2=('log', 1e-6, 1e-2)),
)
SEARCH = COLD_SEARCH | dict(
  model=COLD_SEARCH['model'] | dict(negatives_from=('same_domain', 'union'))
)
# The best of eight trials of either on MovieLens (results/searches); batches of 1024
# and 2048 were worse on validation data.
SELECTED = dict(lr=2e-3, l2=3e-5)
COLD = dict(lr=2e-3, l2=3e-4)


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, view=common.ONE_DOMAIN, **common.BASELINE_ARGUMENT)
  config = common.ranking_baseline(
    'mlp',
    arg,
    model=dict(
      embed=32,
      layers=(32, 16, 8),
      negatives=4,
      negatives_from='same_domain' if arg.cold else 'union',
      batch=512,
    ),
    hyper=COLD if arg.cold else SELECTED,
    search=COLD_SEARCH if arg.cold else SEARCH,
    view=arg.view,
    epochs=100,
    patience=20 if arg.cold else 10,
  )
  if arg.quick:
    config.model.update(embed=8, layers=(8, 4), batch=128)
    config.hyper.lr = 1e-2
    config.update(epochs=20, patience=20)
  return config
