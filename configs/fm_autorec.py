r"""FM-AutoRec (ours): a factorisation machine, I-AutoRec and biases, blended.

python -m experiments.main --config=configs/fm_autorec.py
"""

from configs import common

SEARCH = dict(
  hyper=dict(
    lr=('log', 3e-5, 3e-3),
    alpha=('log', 1e-5, 1e-2),
    centre=(0.0, 1.0),
    spread=('log', 0.01, 1.0),
    penalty=('log', 0.1, 100.0),
  ),
  first=(dict(lr=1e-4),),
)


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, **common.ARGUMENT)
  config = common.method(
    'fm_autorec',
    model=dict(factors=16, samples=100, embed=500, batch=128),
    # Those of the parts: configs/fm_cdcf.py, configs/autorec.py, configs/bias.py.
    hyper=dict(
      lr=1e-3,
      alpha=2e-4,
      centre=1.0,
      spread=0.1,
      penalty=4.0,
    ),
    search=SEARCH,
    data=common.data_block(arg),
    epochs=200,  # sweeps, of which the last 100 are averaged; I-AutoRec stops earlier
    every=10,
    patience=20,
    **common.rating_terms(arg),
  )
  if arg.quick:
    config.update(epochs=20, every=1)
    config.model.update(factors=8, samples=10, embed=32, batch=32)
    config.hyper.lr = 1e-2
  return config
