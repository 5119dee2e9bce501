r"""Figure 2 of DARec: RMSE against the width of the embeddings.

python -m experiments.table --config=configs/darec_figure2.py
python -m experiments.table --config=configs/darec_figure2.py:amazon   # pair 1

On the MovieLens pair by default. Two hours on two CPU cores. The other settings are
those chosen at a width of 500.
"""

from configs import common, darec

WIDTHS = (200, 400, 500, 800, 1200)  # the paper's range, and the default


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, **common.TABLE_ARGUMENT)
  return common.table(
    'darec_figure2',
    arg,
    title='DARec, Figure 2: test RMSE by width of the embeddings',
    note='All other settings are those chosen at width 500. Among them is an output'
    ' of U-AutoRec around 0 (`offset_autorec=0`, as published): at width 200 it'
    ' saturates most hidden units of the target, and the model hardly learns. With an'
    ' output around the mean (1) it learns.',
    rows={'U-DARec': (darec, 'user'), 'I-DARec': (darec, 'item')},
    columns={
      str(width): dict(x=float(width), terms=dict(model=dict(embed=width)))
      for width in ((8, 32) if arg.quick else WIDTHS)
    },
    x_label='width of the embeddings',
    data=common.data_block(arg),
  )
