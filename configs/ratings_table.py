r"""Rating methods with one budget; FM-AutoRec is ours.

python -m experiments.table --config=configs/ratings_table.py
python -m experiments.table --config=configs/ratings_table.py:tables \
  --config.data.source=films.csv --config.data.target=books.csv

Settings of DARec's Table 2 were chosen among eight points of a grid, with small initial
weights. Here initial weights, rates, penalties, widths of AutoRec, dropped ratings and
heads that begin as AutoRec's decoder are searched, for DARec and AutoRec alike. AutoRec
has as many epochs as inside FM-AutoRec: of 60 the best was often near the last, which
it never was for DARec. DARec trained end to end is an extension.
"""

from configs import autorec, bias, common, darec, fm_autorec, fm_cdcf

ROWS = {
  'FM-AutoRec (ours)': (fm_autorec,),
  'FM-CDCF': (fm_cdcf,),
  'I-AutoRec': (autorec, 'item'),
  'I-DARec': (darec, 'item'),
  'U-AutoRec': (autorec, 'user'),
  'U-DARec': (darec, 'user'),
  'I-DARec, end to end': (darec, 'item', 'end_to_end'),
  'bias': (bias,),
}


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, **common.TABLE_ARGUMENT)
  config = common.table(
    'ratings_table',
    arg,
    title='Rating methods with one budget',
    note='Each row is searched on the split of each seed by RMSE of its validation'
    ' ratings, with 64 trials for each seed or 8 minutes of two cores for all seeds,'
    ' whichever ends first.',
    rows=ROWS,
    columns={'90 %': {}},
    data=common.data_block(arg),
    seeds=(0,) if arg.quick else (0, 1, 2),
    tune=not arg.quick,
  )
  for name, row in config.methods.items():
    if arg.quick:
      continue
    if 'AutoRec' in name:
      row.epochs, row.patience = 200, 20
    if 'DARec' in name:
      # The first trial: from Glorot's weights, where small ones leave units dead.
      row.model.initial, row.hyper.lr, row.hyper.lam = 'glorot', 3e-4, 3e-4
  return config
