r"""EMCDR: BPR on each domain, then a mapping between the users' factors.

python -m experiments.main --config=configs/emcdr.py
python -m experiments.main --config=configs/emcdr.py:cold_only
python -m experiments.main --config=configs/emcdr.py:cold

A quarter of a minute on two CPU cores. Expected test HR@10 on the MovieLens pair: .683;
.654 for cold-start users, for which the method is made; .763 with cold_only, which
ranks users with a history by the target's BPR, here without item biases.
"""

from configs import common

# With cold_only, the mapping has no effect on users with a history.
WARM_SEARCH = dict(
  hyper=dict(
    lr=('log', 3e-3, 0.3),
    penalty_user=('log', 1e-3, 0.1),
    penalty_item=('log', 1e-3, 0.1),
  ),
  model=dict(factors=(10, 20, 50, 100)),
)
SEARCH = WARM_SEARCH | dict(
  hyper=WARM_SEARCH['hyper'] | dict(lr_mapping=('log', 1e-4, 0.1))
)
# The best of eight trials on MovieLens (results/searches).
LR_MAPPING, COLD_LR_MAPPING = 0.03, 0.003


def get_config(arg: str | None = None):
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
    every=5 if arg.cold else 1,  # 14,000 cold-start queries are slow to validate
  )
  if arg.quick:
    config.model.update(factors=16, hidden=32, batch=64)
    config.hyper.lr = 0.05
    config.update(epochs=20, every=1)
  return config
