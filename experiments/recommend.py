r"""The items that a trained run would give to some users, or to all.

python -m experiments.recommend --run=runs/darec_item-seed0-... --users=1,17
python -m experiments.recommend --run=runs/darec_item-seed0-... --out=top.csv
"""

import csv
import io
import json
import os
import pathlib
import sys

from absl import app, flags, logging

RUN = flags.DEFINE_string('run', None, 'The folder of a run.', required=True)
USERS = flags.DEFINE_list('users', None, 'Raw user ids; without, everybody.')
TOP = flags.DEFINE_integer('top', 10, 'Items a user.', lower_bound=1)
OUT = flags.DEFINE_string('out', None, 'A CSV file, instead of the terminal.')


def main(argv):
  del argv
  logging.set_verbosity(logging.WARNING)
  from experiments import build
  from xdomain import checkpoint
  from xdomain.data import tables

  try:
    rows = recommend(RUN.value, USERS.value, TOP.value)
    if OUT.value:
      _write(OUT.value, rows)
  except (
    build.ConfigError, tables.DataError, checkpoint.WrongCheckpoint, OSError
  ) as error:  # fmt: skip
    print(f'error: {error}', file=sys.stderr)
    sys.exit(1)
  if OUT.value:
    users = len({user for user, _, _ in rows})
    print(f'{len(rows):,} items for {users:,} users are in {OUT.value}')
  else:
    _show(rows)


def _write(path, rows):
  from xdomain import results

  text = io.StringIO()
  table = csv.writer(text, lineterminator='\n')
  table.writerow(('user', 'item', 'prediction'))
  table.writerows((user, item, f'{value:.6g}') for user, item, value in rows)
  results.write(path, text.getvalue())


def _show(rows):
  try:
    for user, item, prediction in rows:
      print(f'{user}\t{item}\t{prediction:.3f}')
    sys.stdout.flush()
  except BrokenPipeError:  # Who reads has seen enough, as `head` has.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def recommend(folder, users, top):
  """`(user, item, prediction)` by raw ids, best first for each user.

  Items that a user has events with, in training or held out, are left out.

  Args:
    folder: of a finished run.
    users: raw ids; None is everybody.
    top: items a user.

  Raises:
    ConfigError: the folder holds no trained run, or a user is not known.
  """
  import numpy as np

  from experiments import build, protocols, run
  from xdomain import ranking
  from xdomain.data import arrays

  config = _config(folder)
  if build.is_sweep(config):
    raise build.ConfigError(f'{folder} holds a sweep; train the chosen member')
  prepared = run.prepare(config, say=lambda line: None)
  run.finished(folder, [prepared])
  method = build.method(config, prepared.sizes)
  given = run.give(config, [prepared], method)
  progress = run.restore(config, [prepared], method, folder, given)
  if progress is None:
    raise build.ConfigError(f'{folder} holds no checkpoint; run it first')
  ids = prepared.dataset.ids
  rows = np.arange(ids.users.size) if users is None else _rows(ids.users, users)
  seen = prepared.data if prepared.shown is None else prepared.shown
  known = arrays.domain(prepared.dataset.pair.target).by_user
  rates = protocols.of(config).rates
  items, scores = ranking.best(
    method.model, progress.best, seen, known, rows, top, fallback=rates
  )
  shown = np.clip(scores, *prepared.dataset.scale) if rates else scores
  return [
    (str(ids.users[row]), str(ids.target[item]), float(value))
    for row, *best in zip(rows, items, scores, shown, strict=True)
    for item, score, value in zip(*best)
    if np.isfinite(score)
  ]


def _config(folder):
  """The config that a run was made with."""
  import ml_collections

  from experiments import build

  path = pathlib.Path(folder) / 'config.json'
  if not path.exists():
    raise build.ConfigError(
      f'{folder} is not the folder of a run: no {path.name}'
    )
  plain = json.loads(path.read_text('utf-8'))
  return ml_collections.ConfigDict(_with_tuples(plain))


def _with_tuples(value):
  if isinstance(value, dict):
    return {name: _with_tuples(each) for name, each in value.items()}
  return tuple(value) if isinstance(value, list) else value


def _rows(names, users):
  """`[Q]` rows of raw ids."""
  import numpy as np

  from experiments import build
  from xdomain import wording

  row = {str(name): at for at, name in enumerate(names)}
  for user in users:
    if user not in row:
      some = [str(name) for name in names[:5]]
      raise build.ConfigError(
        f'user {user!r} is not among the {names.size:,} of the data, after its'
        f' filters{wording.instead(user, some)}, ...'
      )
  return np.array([row[user] for user in users])


if __name__ == '__main__':
  app.run(main)
