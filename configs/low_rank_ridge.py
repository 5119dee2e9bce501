r"""Low-rank ridge regression from the source to the target (LoCo).

python -m experiments.main --config=configs/low_rank_ridge.py
python -m experiments.main --config=configs/low_rank_ridge.py:cold

Seconds on two CPU cores.
"""

from configs import common

SEARCH = dict(
  hyper=dict(penalty=('log', 1.0, 1e4)), model=dict(rank=(5, 10, 20, 40, 80, 160))
)


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, **common.BASELINE_ARGUMENT)
  return common.ranking_baseline(
    'low_rank_ridge',
    arg,
    model=dict(rank=20),
    hyper=dict(penalty=300.0),
    search=SEARCH,
    epochs=1,
    patience=1,
  )
