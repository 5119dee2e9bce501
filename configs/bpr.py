r"""BPR on both domains as one, or on the target alone.

python -m experiments.main --config=configs/bpr.py
python -m experiments.main --config=configs/bpr.py:alone
python -m experiments.main --config=configs/bpr.py:cold

A quarter of a minute on two CPU cores; expect test HR@10 .767 (merged), .763
(alone) and, for new people, .601 on the MovieLens pair.
"""

from configs import common

# Of eight trials each, on MovieLens, seed 0, by validation NDCG@10:
#   --config.sweep.hyper.lr='(0.02, 0.05)'
#   --config.sweep.hyper.penalty_user='(0.0025, 0.01)'
#   --config.sweep.hyper.penalty_item='(0.0025, 0.01)'
# and for new people, whom only stronger penalties rank better than popularity:
#   --config.sweep.hyper.penalty_user='(0.02, 0.05, 0.1, 0.2)'
#   --config.sweep.hyper.penalty_item='(0.003, 0.01)'
SELECTED = {
  'merged': dict(lr=0.02, penalty_user=0.01, penalty_item=0.01),
  'alone': dict(lr=0.02, penalty_user=0.01, penalty_item=0.0025),
  'cold': dict(lr=0.05, penalty_user=0.05, penalty_item=0.003),
}


def get_config(arg=None):
  arg = common.parse_arg(
    arg, variant=('merged', 'alone'), **common.BASELINE_ARGUMENT
  )
  selected = SELECTED['cold' if arg.cold else arg.variant]
  config = common.ranking_baseline(
    'bpr',
    arg,
    name='bpr' if arg.variant == 'merged' else 'bpr_alone',
    model=dict(factors=64, bias='item', batch=256),
    hyper=dict(**selected, penalty_negative=0.0025, penalty_bias=0.0),
    view=arg.variant,
    epochs=100,
    patience=20 if arg.cold else 10,
    every=5 if arg.cold else 1,  # There are 14,000 questions about the new.
  )
  if arg.quick:
    config.model.update(factors=16, batch=64)
    config.hyper.lr = 0.05
    config.update(epochs=20, every=1)
  return config
