r"""Rating methods with one budget, searched on each split; FM-AutoRec is ours.

python -m experiments.table --config=configs/ratings_table.py
python -m experiments.table --config=configs/ratings_table.py:tables \
  --config.data.source=films.csv --config.data.target=books.csv

Settings of DARec's Table 2 were chosen among eight points of a grid, with small initial
weights. Here initial weights, rates, penalties, widths of AutoRec and dropped ratings
are searched for DARec and AutoRec alike. It resumes where it was stopped.
"""

from configs import autorec, bias, common, darec, fm_autorec, fm_cdcf

TRIALS = 8  # of a row on each split
ROWS = {
  'FM-AutoRec (ours)': (fm_autorec,),
  'FM-CDCF': (fm_cdcf,),
  'I-AutoRec': (autorec, 'item'),
  'I-DARec': (darec, 'item'),
  'U-AutoRec': (autorec, 'user'),
  'U-DARec': (darec, 'user'),
  'bias': (bias,),
}


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, **common.TABLE_ARGUMENT)
  config = common.table(
    'ratings_table',
    arg,
    title='Rating methods with one budget',
    note=f'Each row was searched on each split with {TRIALS} trials, by RMSE of the'
    ' validation ratings.',
    rows=ROWS,
    columns={'90 %': {}},
    data=common.data_block(arg),
    seeds=(0,) if arg.quick else (0, 1, 2),
    tune=not arg.quick,
  )
  for name, row in config.methods.items():
    row.search.update(trials=TRIALS, minutes=60.0)
    if 'DARec' in name and not arg.quick:
      # The first trial: from Glorot's weights, where small ones leave units dead.
      row.model.initial, row.hyper.lr, row.hyper.lam = 'glorot', 3e-4, 3e-4
  return config
