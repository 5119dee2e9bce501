r"""Ablation of DARec: without its classifier, and without the source.

python -m experiments.table --config=configs/darec_ablation.py

On the MovieLens pair. One hour on two CPU cores.
"""

from configs import autorec, common, darec


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, **common.TABLE_ARGUMENT)
  config = common.table(
    'darec_ablation',
    arg,
    title='DARec without its classifier and without the source',
    note='Without the classifier, mu and domain are 0; without the source, beta is 0'
    ' as well.',
    rows={
      f'{axis[0].upper()}-{name}': (module, axis)
      for axis in ('user', 'item')
      for name, module in (
        ('AutoRec', autorec),
        ('DARec', darec),
        ('DARec without classifier', darec),
        ('DARec without classifier and source', darec),
      )
    },
    columns={'90 %': {}},
    data=common.data_block(arg),
  )
  for name, row in config.methods.items():
    without = ('mu', 'domain') if 'without' in name else ()
    without += ('beta',) if 'source' in name else ()
    for part in without:
      row.hyper[part] = 0.0
      if part in row.search.hyper:
        del row.search.hyper[part]
  return config
