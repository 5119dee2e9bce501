r"""BPR on both domains merged, or on the target alone.

python -m experiments.main --config=configs/bpr.py
python -m experiments.main --config=configs/bpr.py:alone
python -m experiments.main --config=configs/bpr.py:cold

Twenty seconds on two CPU cores. Expected test HR@10 on the MovieLens pair: .780
(merged), .773 (alone) and .647 (cold-start users).
"""

from configs import common

SPACE = dict(
  hyper=dict(
    lr=('log', 3e-3, 0.3),
    penalty_user=('log', 1e-3, 1.0),
    penalty_item=('log', 1e-3, 1.0),
  ),
  model=dict(factors=(16, 32, 64, 128, 256)),
)
FROM = dict(negatives_from=('same_domain', 'union'))
MERGED = dict(hyper=SPACE['hyper'], model=SPACE['model'] | FROM)
SEARCH = {'merged': MERGED, 'alone': SPACE, 'cold': SPACE}
# The best of eight trials on MovieLens (results/searches). The penalties of negatives
# and biases were raised to .01 before, on the same data.
WARM = dict(lr=0.02, penalty_negative=0.01, penalty_bias=0.01)
SELECTED = {
  'merged': dict(penalty_user=0.015, penalty_item=0.01, **WARM),
  'alone': dict(penalty_user=0.015, penalty_item=0.005, **WARM),
  'cold': dict(
    lr=0.05,
    penalty_user=0.1,
    penalty_item=0.003,
    penalty_negative=0.0025,
    penalty_bias=0.0,
  ),
}


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, view=common.ONE_DOMAIN, **common.BASELINE_ARGUMENT)
  role = 'cold' if arg.cold else arg.view
  config = common.ranking_baseline(
    'bpr',
    arg,
    model=dict(
      factors=64,
      bias='item',
      negatives_from='same_domain' if arg.cold else 'union',
      batch=256,
    ),
    hyper=SELECTED[role],
    search=SEARCH[role],
    view=arg.view,
    epochs=100,
    # The 14,000 cold-start queries make validation slow, and its value falls for
    # a while before it rises.
    patience=100 if arg.cold else 20,
    every=5 if arg.cold else 1,
  )
  if arg.quick:
    config.model.update(factors=16, batch=64)
    config.hyper.lr = 0.05
    config.update(epochs=20, every=1)
  return config
