r"""Ridge regression from source items to target items, in closed form.

python -m experiments.main --config=configs/ridge.py
python -m experiments.main --config=configs/ridge.py:cold

Seconds on two CPU cores. Expected test HR@10 and NDCG@10 on MovieLens: .673 and .423;
for cold-start users .651 and .396.
"""

from configs import common

SEARCH = dict(hyper=dict(penalty=('log', 1.0, 1e4)))
# The best of eight trials on MovieLens (results/searches), in both roles.
PENALTY = 300.0


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, **common.BASELINE_ARGUMENT)
  return common.ranking_baseline(
    'ridge',
    arg,
    model=dict(),
    hyper=dict(penalty=PENALTY),
    search=SEARCH,
    epochs=1,
    patience=1,
  )
