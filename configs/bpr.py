r"""BPR on both domains as one, or on the target alone.

python -m experiments.main --config=configs/bpr.py
python -m experiments.main --config=configs/bpr.py:alone
python -m experiments.main --config=configs/bpr.py:cold

Ten seconds on two CPU cores; expect test HR@10 .767 (merged) and .763 (alone)
on the MovieLens pair.
"""

from configs import common

# Of eight trials each, on MovieLens, seed 0, by validation NDCG@10:
#   --config.sweep.hyper.lr='(0.02, 0.05)'
#   --config.sweep.hyper.penalty_user='(0.0025, 0.01)'
#   --config.sweep.hyper.penalty_item='(0.0025, 0.01)'
SELECTED = {
  'merged': dict(lr=0.02, penalty_user=0.01, penalty_item=0.01),
  'alone': dict(lr=0.02, penalty_user=0.01, penalty_item=0.0025),
}


def get_config(arg=None):
  arg = common.parse_arg(
    arg, variant=('merged', 'alone'), **common.BASELINE_ARGUMENT
  )
  config = common.ranking_baseline(
    'bpr',
    arg,
    name='bpr' if arg.variant == 'merged' else 'bpr_alone',
    model=dict(factors=64, bias='item', batch=256),
    hyper=SELECTED[arg.variant]
    | dict(penalty_negative=0.0025, penalty_bias=0.0),
    view=arg.variant,
    epochs=100,
    patience=10,
  )
  if arg.quick:
    config.model.update(factors=16, batch=64)
    config.hyper.lr = 0.05
    config.epochs = 20
  return config
