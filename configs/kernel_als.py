r"""Kernel-ALS (ours): kernel ridge and implicit ALS of both domains, blended.

python -m experiments.main --config=configs/kernel_als.py
python -m experiments.main --config=configs/kernel_als.py:cold

Seconds on two CPU cores. One artefact serves users with and without a target history.
"""

from configs import common

# Choices, because the ends matter: a part that harms on a pair must be left out.
WEIGHTS = dict(blend=(0.0, 0.1, 0.2, 0.3, 0.5, 1.0), popularity=(0.0, 0.1, 0.3))
# Corners that are tried with the same settings as the blend.
ALONE = dict(blend=0.0, popularity=0.0)
FIRST = (ALONE, ALONE | dict(source_weight=0.0), dict(blend=0.1, popularity=0.0))
COLD_FIRST = (
  ALONE,
  dict(blend=1.0, popularity=0.0, ridge_penalty=100.0),
  dict(blend=0.5, popularity=0.0, ridge_penalty=100.0),
)
SEARCH = dict(
  hyper=dict(
    source_weight=(0.0, 0.1, 0.3, 0.6, 1.0),
    penalty=('log', 0.03, 10.0),
    factor_penalty=('log', 0.3, 100.0),
    **WEIGHTS,
  ),
  model=dict(factors=(32, 64, 128, 256)),
  first=FIRST,
)
COLD_SEARCH = dict(
  hyper=dict(
    cold_penalty=('log', 0.1, 100.0),
    ridge_penalty=('log', 10.0, 1e4),
    **WEIGHTS,
  ),
  model=dict(rank=(5, 10, 20, 40, 80)),
  first=COLD_FIRST,
)


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, **common.BASELINE_ARGUMENT)
  return common.ranking_baseline(
    'kernel_als',
    arg,
    # The best of eight trials on MovieLens (results/searches), for both kinds of users.
    model=dict(factors=64, sweeps=12, rank=20),
    hyper=dict(
      source_weight=0.3,
      penalty=0.5,
      cold_penalty=3.0,
      alpha=4.0,
      factor_penalty=3.0,
      frequency=0.5,
      ridge_penalty=300.0,
      blend=0.3,
      popularity=0.0,
    ),
    search=COLD_SEARCH if arg.cold else SEARCH,
    epochs=1,
    patience=1,
  )
