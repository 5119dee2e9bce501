r"""Table 2 of DARec: RMSE on the target beside the cross-domain methods.

python -m experiments.table --config=configs/darec_table2.py
python -m experiments.table --config=configs/darec_table2.py:amazon
python -m experiments.table --config=configs/darec_table2.py:tables \
  --config.data.source=films.csv --config.data.target=books.csv

On the MovieLens pair by default. One hour on two CPU cores. The paper's numbers are for
the Amazon pairs; `:amazon` needs their files.
"""

from configs import (
  autorec,
  bias,
  cdtf,
  cmf,
  common,
  conet_rating,
  darec,
  fm_cdcf,
)

ROWS = {
  'CMF': (cmf, 'als'),
  'CDTF': (cdtf,),
  'FM-CDCF': (fm_cdcf,),
  'CoNet': (conet_rating,),
  'U-DARec': (darec, 'user'),
  'I-DARec': (darec, 'item'),
}
BESIDE = {  # not in the paper's table
  'bias': (bias,),
  'U-AutoRec': (autorec, 'user'),
  'I-AutoRec': (autorec, 'item'),
}
# Search spaces on data other than MovieLens: the ranges of the paper and of the
# methods' authors, with 16 trials drawn for each method.
DAREC = dict(
  lam=(1e-6, 1e-5, 1e-4, 1e-3),
  beta=(0.01, 0.1, 1.0),
  mu=(0.01, 0.1, 1.0),
  alpha=(1e-4, 3e-4, 1e-3),
  alpha_source=(1e-4, 3e-4, 1e-3),
  offset=(0.0, 1.0),
)
AUTOREC = dict(
  alpha=(5e-5, 1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3, 3.2e-3, 6.4e-3),
  offset=(0.0, 1.0),
)
SPACES = {
  'CMF': dict(
    hyper=dict(alpha=(0.1, 0.3, 0.5, 0.7), penalty=(1.0, 3.0, 5.0, 10.0, 20.0)),
    model=dict(factors=(8, 16)),
  ),
  'CDTF': dict(
    hyper=dict(lambda_a=(0.5, 5.0, 50.0, 500.0, 5000.0), source=(0.03, 0.1, 0.3, 1.0)),
    model=dict(factors=(8, 16)),
  ),
  'FM-CDCF': dict(
    hyper=dict(centre=(0.0, 1.0), spread=(0.1, 0.3)),
    model=dict(factors=(4, 8, 16, 32)),
  ),
  'CoNet': dict(
    hyper=dict(lr=(1e-3, 3e-3), l2=(1e-5, 1e-4, 3e-4, 1e-3, 3e-3), l1=(0.01, 0.1)),
    model={},
  ),
  'U-DARec': dict(hyper=DAREC, model={}),
  'I-DARec': dict(hyper=DAREC, model={}),
  'bias': dict(hyper=dict(penalty=tuple(float(p) for p in range(1, 17))), model={}),
  'U-AutoRec': dict(hyper=AUTOREC, model={}),
  'I-AutoRec': dict(hyper=AUTOREC, model={}),
}
TRIALS = 16
PERCENT = (80, 90)  # of the ratings are for training


def get_config(arg=None):
  arg = common.parse_arg(arg, **common.TABLE_ARGUMENT)
  pairs = (1, 2, 3, 4) if arg.data == 'amazon' else ('',)
  return common.table(
    'darec_table2',
    arg,
    title='DARec, Table 2: test RMSE on the target domain',
    note='80 % or 90 % of the ratings are for training, and a tenth of these for'
    " validation. The rows bias and AutoRec are not in the paper's table.",
    rows=ROWS | BESIDE,
    columns={
      _name(pair, percent): dict(terms=_terms(arg, pair, percent))
      for pair in pairs
      for percent in PERCENT
    },
    paper=_paper() if arg.data == 'amazon' else {},
    spaces={row: dict(trials=TRIALS, **SPACES[row]) for row in SPACES},
    data=common.data_block(arg),
  )


def _name(pair, percent):
  return f'pair {pair}, {percent} %' if pair else f'{percent} %'


def _terms(arg, pair, percent):
  terms = dict(split=dict(test=round(1 - percent / 100, 2)))
  return terms | (dict(data=common.data_block(arg, pair=pair)) if pair else {})


def _paper():
  by_row = {row: {} for row in ROWS}
  for line in common.paper('darec')['table2']['rows']:
    column = _name(line['pair'], line['train_percent'])
    for row, value in line['rmse'].items():
      by_row[row][column] = dict(rmse=value)
  return by_row
