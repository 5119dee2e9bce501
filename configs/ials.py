r"""Implicit ALS on both domains merged.

python -m experiments.main --config=configs/ials.py
python -m experiments.main --config=configs/ials.py:alone
python -m experiments.main --config=configs/ials.py:cold
python -m experiments.main --config=configs/ials.py:cg

Half a minute on two CPU cores. Expected test HR@10 and NDCG@10 on MovieLens: .786 and
.524. With `:cg`, conjugate-gradient steps replace exact solutions; an epoch is several
times as fast, and the expected values are .787 and .523.
"""

from configs import common

SEARCH = dict(
  hyper=dict(
    alpha=('log', 0.3, 100.0),
    penalty=('log', 0.1, 300.0),
    frequency=('linear', 0.0, 1.0),
  ),
  model=dict(factors=(16, 32, 64, 128, 256)),
)
# The best of eight trials on MovieLens (results/searches). A cold-start user's zeros in
# the target count as dislike, so confidence is lower.
ALPHA, COLD_ALPHA, PENALTY = 4.0, 1.0, 30.0


def get_config(arg: str | None = None):
  arg = common.parse_arg(
    arg, view=common.ONE_DOMAIN, cg=False, **common.BASELINE_ARGUMENT
  )
  return common.ranking_baseline(
    'ials',
    arg,
    view=arg.view,
    model=dict(factors=64, **(dict(solver='cg') if arg.cg else {})),
    hyper=dict(alpha=COLD_ALPHA if arg.cold else ALPHA, penalty=PENALTY, frequency=0.0),
    search=SEARCH,
    epochs=30,
    patience=5,
  )
