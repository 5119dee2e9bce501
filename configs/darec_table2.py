r"""Table 2 of DARec: RMSE on the target beside the cross-domain methods.

python -m experiments.table --config=configs/darec_table2.py
python -m experiments.table --config=configs/darec_table2.py:amazon
python -m experiments.table --config=configs/darec_table2.py:tables \
  --config.data.source=films.csv --config.data.target=books.csv
python -m experiments.table --config=configs/darec_table2.py:time

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
PERCENT = (80, 90)  # of the ratings are for training


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, time=False, **common.TABLE_ARGUMENT)
  pairs = (1, 2, 3, 4) if arg.data == 'amazon' else ('',)
  percents = (90,) if arg.time else PERCENT
  note = (
    '80 % or 90 % of the ratings are for training, and a tenth of these for validation.'
  )
  if arg.time:
    note = 'The latest tenth of the ratings is tested.' + common.by_time(arg)
    if arg.data == 'movielens':
      note += ' Settings are those of the random split.'
  return common.table(
    'darec_table2',
    arg,
    title='DARec, Table 2: test RMSE on the target domain' + ', by time' * arg.time,
    note=note + " The rows bias and AutoRec are not in the paper's table.",
    rows=ROWS | BESIDE,
    columns={
      _name(pair, percent): dict(terms=_terms(arg, pair, percent))
      for pair in pairs
      for percent in percents
    },
    paper=_paper() if arg.data == 'amazon' and not arg.time else {},
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
