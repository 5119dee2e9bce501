r"""Implicit ALS, on both domains as one.

python -m experiments.main --config=configs/ials.py
python -m experiments.main --config=configs/ials.py:alone
python -m experiments.main --config=configs/ials.py:cold

Half a minute on two CPU cores; expect test HR@10 .786 and NDCG@10 .524 on
MovieLens.
"""

from configs import common

# Of eight, on MovieLens, seed 0, by validation NDCG@10:
#   --config.sweep.hyper.alpha='(1.0, 4.0, 10.0, 30.0)'
#   --config.sweep.hyper.penalty='(10.0, 30.0)'
ALPHA, PENALTY = 4.0, 30.0
# Of people who are new, where the target's zeros are taken for dislike; epochs
# are at most 6, every other one validated:
#   --config.sweep.hyper.alpha='(1.0, 4.0)'
#   --config.sweep.hyper.penalty='(30.0, 100.0, 300.0, 1000.0)'
COLD_ALPHA = 1.0


def get_config(arg=None):
  arg = common.parse_arg(
    arg, view=common.ONE_DOMAIN, **common.BASELINE_ARGUMENT
  )
  return common.ranking_baseline(
    'ials',
    arg,
    view=arg.view,
    model=dict(factors=64),
    hyper=dict(
      alpha=COLD_ALPHA if arg.cold else ALPHA, penalty=PENALTY, frequency=0.0
    ),
    epochs=30,
    patience=5,
  )
