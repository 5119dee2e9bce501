r"""The items that a trained method recommends to some users, or to all.

python -m experiments.recommend --run=runs/darec_item-seed0-... --users=1,17
python -m experiments.recommend --run=darec_item --users=@users.txt --out=top.csv
python -m experiments.recommend --run=my-artefact --source='Heat (1995),Alien (1979)'

`--run` is a run's folder or its name (the newest of that name), or an artefact. No raw
file is read.
"""

import functools
import sys

from absl import app, flags

from experiments import arguments, output, program

RUN = flags.DEFINE_string(
  'run', None, 'A run, by its folder or its name, or an artefact.', required=True
)
WORKDIR = flags.DEFINE_string('workdir', 'runs', 'Where runs are found by their names.')
USERS = flags.DEFINE_list(
  'users',
  [],
  'Raw user ids, one with a comma in double quotes; or @ and a file with an id a line;'
  ' all users by default.',
)
SOURCE = flags.DEFINE_list(
  'source', [], 'Source items of a user who is not in the data, given as users are.'
)
TARGET = flags.DEFINE_list('target', [], 'The same for target items.')
TOP = flags.DEFINE_integer('top', 10, 'Items for each user.', lower_bound=1)
FALLBACK = flags.DEFINE_enum(
  'fallback', None, ['popular'], 'What users without a prediction get.'
)
SEEN = flags.DEFINE_boolean(
  'seen', False, 'Recommend also items that a user has interacted with.'
)
OUT = flags.DEFINE_string(
  'out', None, 'A .csv, .json or .parquet file, instead of the terminal.'
)


def main(argv: list[str]) -> None:
  del argv
  with program.running():
    path = OUT.value and output.writable(OUT.value)
    rows = _rows(functools.partial(print, file=sys.stderr))
    if path:
      output.write_recommendations(path, rows)
  if path:
    users = len({row.user for row in rows})
    print(f'{len(rows):,} items for {users:,} users are in {path}')
  else:
    output.show_recommendations(rows)


def _rows(say):
  from xdomain import api
  from xdomain.runs import store

  users = arguments.ids('users', USERS.value)
  source = arguments.ids('source', SOURCE.value)
  target = arguments.ids('target', TARGET.value)
  trained = api.load(store.find_trained(RUN.value, WORKDIR.value))
  options = dict(exclude_seen=not SEEN.value, say=say)
  if source or target:
    return trained.recommend_for(source, target, TOP.value, **options)
  options['fallback'] = FALLBACK.value
  return trained.recommend(users or None, TOP.value, **options)


if __name__ == '__main__':
  app.run(main, flags_parser=arguments.parse)
