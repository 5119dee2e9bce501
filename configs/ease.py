r"""EASE, a linear autoencoder in closed form, on both domains merged.

python -m experiments.main --config=configs/ease.py
python -m experiments.main --config=configs/ease.py:alone
python -m experiments.main --config=configs/ease.py:cold

Seconds on two CPU cores. Expected test HR@10 and NDCG@10 on MovieLens: .772 and .520;
for cold-start users .617 and .365.
"""

from configs import common

PENALTIES = ('log', 1.0, 1e4)
# A cold-start user's target row is all zeros, so a larger penalty is best.
COLD_PENALTIES = ('log', 100.0, 1e5)
# The best of eight trials of either on MovieLens (results/searches).
PENALTY, COLD_PENALTY = 500.0, 8000.0


def get_config(arg: str | None = None):
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
