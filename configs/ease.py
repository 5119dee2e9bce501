r"""EASE, a linear autoencoder in closed form, on both domains as one.

python -m experiments.main --config=configs/ease.py
python -m experiments.main --config=configs/ease.py:alone
python -m experiments.main --config=configs/ease.py:cold

Seconds on two CPU cores; expect test HR@10 .772 and NDCG@10 .520 on MovieLens,
.617 and .365 of people who are new.
"""

from configs import common

# Of eight, on MovieLens, seed 0, by validation NDCG@10:
#   --config.sweep.hyper.penalty='(30.0, 60.0, 100.0, 200.0, 300.0, 500.0, \
#     1000.0, 2000.0)'
PENALTY = 500.0
# Of people who are new, the source has to speak up against the target's zeros:
#   --config.sweep.hyper.penalty='(500.0, 1000.0, 2000.0, 4000.0, 8000.0, \
#     16000.0, 32000.0, 64000.0)'
COLD_PENALTY = 8000.0


def get_config(arg=None):
  arg = common.parse_arg(
    arg, view=common.ONE_DOMAIN, **common.BASELINE_ARGUMENT
  )
  return common.ranking_baseline(
    'ease',
    arg,
    view=arg.view,
    model=dict(),
    hyper=dict(penalty=COLD_PENALTY if arg.cold else PENALTY),
    epochs=1,
    patience=1,
  )
