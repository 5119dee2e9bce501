r"""EMCDR: BPR on either domain, then a mapping between their factors.

python -m experiments.main --config=configs/emcdr.py
python -m experiments.main --config=configs/emcdr.py:cold_only
python -m experiments.main --config=configs/emcdr.py:cold

A quarter of a minute on two CPU cores; expect test HR@10 .683 on the MovieLens
pair, and .654 for new people, whom it is for. With cold_only everybody else is
ranked by the target's BPR, here without biases: .763.
"""

from configs import common

SEARCH = dict(
  hyper=dict(penalty_user=(0.003, 0.01), lr_mapping=(0.003, 0.01, 0.03, 0.1))
)
# With cold_only, the mapping is not asked about people with a past.
WARM_SEARCH = dict(
  hyper=dict(lr=(0.02, 0.05), penalty_user=(0.003, 0.01), penalty_item=(0.003, 0.01))
)
# The best of them, on MovieLens (results/searches).
LR_MAPPING, COLD_LR_MAPPING = 0.03, 0.003


def get_config(arg=None):
  arg = common.parse_arg(arg, mapped=('all', 'cold_only'), **common.BASELINE_ARGUMENT)
  config = common.ranking_baseline(
    'emcdr',
    arg,
    name='emcdr' if arg.mapped == 'all' else 'emcdr_cold_only',
    model=dict(factors=20, hidden=40, mapped=arg.mapped, batch=256, batch_mapping=16),
    hyper=dict(
      lr=0.02,
      penalty_user=0.01,
      penalty_item=0.01,
      penalty_negative=0.0025,
      lr_mapping=COLD_LR_MAPPING if arg.cold else LR_MAPPING,
      penalty_mapping=0.0,
    ),
    search=SEARCH if arg.cold or arg.mapped == 'all' else WARM_SEARCH,
    view='both',
    epochs=100,
    patience=20 if arg.cold else 10,
    every=5 if arg.cold else 1,  # There are 14,000 questions about the new.
  )
  if arg.quick:
    config.model.update(factors=16, hidden=32, batch=64)
    config.hyper.lr = 0.05
    config.update(epochs=20, every=1)
  return config
