r"""EMCDR: BPR on either domain, then a mapping between their factors.

python -m experiments.main --config=configs/emcdr.py
python -m experiments.main --config=configs/emcdr.py:cold_only
python -m experiments.main --config=configs/emcdr.py:cold
"""

from configs import common


def get_config(arg=None):
  arg = common.parse_arg(
    arg, mapped=('all', 'cold_only'), **common.BASELINE_ARGUMENT
  )
  config = common.ranking_baseline(
    'emcdr',
    arg,
    name='emcdr' if arg.mapped == 'all' else 'emcdr_cold_only',
    model=dict(
      factors=20, hidden=40, mapped=arg.mapped, batch=256, batch_mapping=16
    ),
    hyper=dict(
      lr=0.02,
      penalty_user=0.01,
      penalty_item=0.01,
      penalty_negative=0.0025,
      lr_mapping=0.03,
      penalty_mapping=0.0,
    ),
    view='both',
    epochs=100,
    patience=10,
  )
  if arg.quick:
    config.model.update(factors=16, hidden=32, batch=64)
    config.hyper.lr = 0.05
    config.update(epochs=20, every=1)
  return config
