r"""EDLAE, a linear autoencoder with dropout, on both domains; solved over users.

python -m experiments.main --config=configs/edlae.py

Seconds on two CPU cores. EASE is `--config.hyper.dropout=0`; the target alone is
`--config.hyper.source_weight=0`.
"""

from configs import common

SEARCH = dict(
  hyper=dict(
    penalty=('log', 1.0, 1e4),
    source_weight=('linear', 0.0, 1.0),
    dropout=('linear', 0.0, 0.9),
  )
)


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, **common.BASELINE_ARGUMENT)
  return common.ranking_baseline(
    'edlae',
    arg,
    model=dict(),
    # The best of eight trials on MovieLens (results/searches).
    hyper=dict(
      penalty=49.501595537331944,
      source_weight=0.6458941130666561,
      dropout=0.49039486469720717,
    ),
    search=SEARCH,
    epochs=1,
    patience=1,
  )
