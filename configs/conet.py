r"""CoNet and SCoNet on both domains.

python -m experiments.main --config=configs/conet.py
python -m experiments.main --config=configs/conet.py:sconet
python -m experiments.main --config=configs/conet.py:cold
python -m experiments.main --config=configs/conet.py \
  --config.model.pairing=same_user

A minute on one CPU core. Expected test HR@10 and NDCG@10 on the MovieLens pair: .724
and .458; for cold-start users about .605 and .356.
"""

from configs import common

SHARED = dict(lr=('log', 3e-4, 3e-2), source=('log', 0.03, 3.0))
SEARCH = {
  'conet': dict(hyper=SHARED),
  'sconet': dict(hyper=SHARED | dict(l1=('log', 1e-3, 1.0))),
}
# The best of eight trials on MovieLens (results/searches).
SELECTED = {
  'conet': dict(lr=2e-3, source=1.0, l1=0.0),
  'sconet': dict(lr=8e-3, source=1.0, l1=0.01),  # the paper's l1 is .1
}


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, variant=('conet', 'sconet'), **common.BASELINE_ARGUMENT)
  config = common.ranking_baseline(
    'conet',
    arg,
    name=arg.variant,
    model=dict(
      embed=32,
      layers=(32, 16, 8),
      cross_layers=2,
      pairing='independent',
      batch=512,
    ),
    hyper=SELECTED[arg.variant],
    search=SEARCH[arg.variant],
    epochs=100,
    patience=10,
  )
  if arg.quick:
    config.model.update(embed=8, layers=(8, 4), batch=64)
    config.hyper.lr = 1e-2
    config.update(epochs=20, patience=20)
  return config
