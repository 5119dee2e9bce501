r"""FM-AutoRec (ours): a factorisation machine, I-AutoRec and biases, blended.

python -m experiments.main --config=configs/fm_autorec.py
"""

from configs import common

SEARCH = dict(
  hyper=dict(
    autorec=('linear', 0.0, 1.0),
    bias=('linear', 0.0, 1.0),
    lr=('log', 3e-5, 3e-3),
    alpha=('log', 1e-5, 1e-2),
    penalty=('log', 0.1, 100.0),
  ),
  # Each method alone, and blends, with the settings of the config.
  first=(
    dict(autorec=0.0, bias=0.0),
    dict(autorec=1.0, bias=0.0),
    dict(autorec=0.0, bias=1.0),
    dict(autorec=0.8, bias=0.2),
    dict(autorec=0.3, bias=0.3),
    dict(autorec=0.2, bias=0.7),
    dict(autorec=0.4, bias=0.0, lr=1e-4),
  ),
)


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, **common.ARGUMENT)
  config = common.method(
    'fm_autorec',
    model=dict(factors=16, samples=100, embed=500, batch=128),
    # Those of the parts: configs/fm_cdcf.py, configs/autorec.py, configs/bias.py.
    hyper=dict(
      autorec=0.4,
      bias=0.0,
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
