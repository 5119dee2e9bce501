r"""EASE, a linear autoencoder in closed form, on both domains merged.

python -m experiments.main --config=configs/ease.py
python -m experiments.main --config=configs/ease.py:alone
python -m experiments.main --config=configs/ease.py:cold

Seconds on two CPU cores. Expected test HR@10 and NDCG@10 on MovieLens: .772 and .520;
for cold-start users .617 and .365.
"""

from configs import common

PENALTIES = (30.0, 60.0, 1e2, 2e2, 3e2, 5e2, 1e3, 2e3)
# A cold-start user's target row is all zeros, so a larger penalty is best.
COLD_PENALTIES = (5e2, 1e3, 2e3, 4e3, 8e3, 1.6e4, 3.2e4, 6.4e4)
# The best of either on MovieLens, seed 0, by validation NDCG@10.
PENALTY, COLD_PENALTY = 500.0, 8000.0


def get_config(arg=None):
  arg = common.parse_arg(arg, view=common.ONE_DOMAIN, **common.BASELINE_ARGUMENT)
  return common.ranking_baseline(
    'ease',
    arg,
    view=arg.view,
    model=dict(),
    hyper=dict(penalty=COLD_PENALTY if arg.cold else PENALTY),
    search=dict(hyper=dict(penalty=COLD_PENALTIES if arg.cold else PENALTIES)),
    epochs=1,
    patience=1,
  )
