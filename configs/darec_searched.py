r"""DARec against AutoRec, both searched with one budget on each split.

python -m experiments.table --config=configs/darec_searched.py
python -m experiments.table --config=configs/darec_searched.py:tables \
  --config.data.source=films.csv --config.data.target=books.csv

Settings of Table 2 were chosen among eight points of a grid, with small initial
weights. Here initial weights, rates, penalties, widths of AutoRec and dropped ratings
are searched for both. Two hours on two CPU cores; it resumes where it was stopped.
"""

from configs import autorec, common, darec

TRIALS = 8  # of a row on each split
ROWS = {
  'I-AutoRec': (autorec, 'item'),
  'I-DARec': (darec, 'item'),
  'U-AutoRec': (autorec, 'user'),
  'U-DARec': (darec, 'user'),
}


def get_config(arg=None):
  arg = common.parse_arg(arg, **common.TABLE_ARGUMENT)
  config = common.table(
    'darec_searched',
    arg,
    title='DARec and the AutoRec it starts from, searched with one budget',
    note=f'Each row was searched on each split with {TRIALS} trials.',
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
