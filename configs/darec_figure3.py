r"""Figure 3 of DARec: RMSE beside methods that read the target alone.

python -m experiments.table --config=configs/darec_figure3.py
python -m experiments.table --config=configs/darec_figure3.py:amazon

On the MovieLens pair by default. Two hours on two CPU cores. The paper's figure
prints no numbers.
"""

from configs import (
  autorec,
  bias,
  biased_mf,
  cf_nade,
  common,
  darec,
  item_knn_rating,
  pmf,
  rbm,
)

ROWS = {
  'PMF': (pmf,),
  'U-RBM': (rbm, 'user'),
  'U-AutoRec': (autorec, 'user'),
  'U-DARec': (darec, 'user'),
  'I-AutoRec': (autorec, 'item'),
  'CF-NADE': (cf_nade, 'item'),
  'I-DARec': (darec, 'item'),
}
BESIDE = {  # not in the paper's figure
  'bias': (bias,),
  'item kNN': (item_knn_rating,),
  'biased MF': (biased_mf, 'explicit'),
  'SVD++': (biased_mf, 'implicit'),
  'I-RBM': (rbm, 'item'),
  'U-CF-NADE': (cf_nade, 'user'),
}


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, **common.TABLE_ARGUMENT)
  columns = {'90 %': {}}
  if arg.data == 'amazon':
    columns = {
      f'pair {pair}': dict(terms=dict(data=common.data_block(arg, pair=pair)))
      for pair in (1, 2, 3, 4)
    }
  return common.table(
    'darec_figure3',
    arg,
    title='DARec, Figure 3: test RMSE beside single-domain methods',
    note='90 % of the ratings are for training, and a tenth of these for validation.',
    rows=ROWS | BESIDE,
    columns=columns,
    measures=('rmse', 'mae'),
    data=common.data_block(arg),
  )
