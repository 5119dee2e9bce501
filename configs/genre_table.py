r"""Genre pairs of MovieLens-1M: where does the source help?

python -m experiments.table --config=configs/genre_table.py

Kernel ridge between users, with and without the source, and at settings that no search
chose, so that rows differ in the source alone.
"""

from configs import common, ease, ntk_ridge

ROWS = {
  'NTK ridge, target alone': (ntk_ridge,),
  'NTK ridge, a little of the source': (ntk_ridge,),
  'NTK ridge, both domains alike': (ntk_ridge,),
  'EASE, target alone': (ease, 'alone'),
  'EASE, merged': (ease,),
}
SOURCE_WEIGHTS = dict(zip(ROWS, (0.0, 0.3, 1.0)))
PAIRS = {
  'Action to Sci-Fi': ('Action', 'Sci-Fi'),
  'Sci-Fi to Action': ('Sci-Fi', 'Action'),
  'Comedy to Romance': ('Comedy', 'Romance'),
  'Drama to Comedy': ('Drama', 'Comedy'),
  'Comedy to Drama': ('Comedy', 'Drama'),
  'Drama to Horror': ('Drama', 'Horror'),
}


def get_config(arg: str | None = None):
  arg = common.parse_arg(arg, data=('movielens',), quick=False)
  config = common.table(
    'genre_table',
    arg,
    title='Genre pairs of MovieLens-1M, with and without the source',
    note='Films of both genres are in neither domain. Users have at least 20 positives'
    ' in the source and 2 in the target. No settings were searched.',
    rows=ROWS,
    columns={
      name: dict(
        terms=dict(
          data=common.implicit_block(arg)
          | dict(source_genres=source, target_genres=target)
        )
      )
      for name, (source, target) in PAIRS.items()
    },
    measures=('full ndcg@10', 'sampled ndcg@10'),
    data=common.implicit_block(arg),
    seeds=(0,) if arg.quick else (0, 1, 2),
  )
  for name, row in config.methods.items():
    row.search.hyper = type(config)()  # Nothing is searched.
    if name in SOURCE_WEIGHTS:
      row.hyper.update(source_weight=SOURCE_WEIGHTS[name], penalty=1.0)
  return config
