r"""Infinitely wide autoencoder of both domains: kernel ridge between users.

python -m experiments.main --config=configs/ntk_ridge.py
python -m experiments.main --config=configs/ntk_ridge.py:cold

Seconds on two CPU cores. For cold-start users the kernel reads the source alone.
"""

from configs import common

SEARCH = dict(
  hyper=dict(penalty=('log', 0.01, 100.0), source_weight=('linear', 0.0, 1.0))
)
# The best of eight trials on MovieLens (results/searches).
PENALTY, SOURCE_WEIGHT = 1.871450068624068, 0.925596638292661
COLD_SEARCH = dict(hyper=dict(penalty=('log', 0.01, 100.0)))


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, **common.BASELINE_ARGUMENT)
  return common.ranking_baseline(
    'ntk_ridge',
    arg,
    model=dict(),
    hyper=dict(
      penalty=1.0 if arg.cold else PENALTY,
      source_weight=1.0 if arg.cold else SOURCE_WEIGHT,
      target_weight=0.0 if arg.cold else 1.0,
    ),
    search=COLD_SEARCH if arg.cold else SEARCH,
    epochs=1,
    patience=1,
  )
