r"""The items that a trained run would give to some users.

python -m experiments.recommend --run=runs/darec_item-seed0-... --users=1,17
"""

import csv
import json
import pathlib
import sys

from absl import app, flags, logging

RUN = flags.DEFINE_string('run', None, 'The folder of a run.', required=True)
USERS = flags.DEFINE_list('users', None, 'Raw user ids.', required=True)
TOP = flags.DEFINE_integer('top', 10, 'Items a user.', lower_bound=1)
OUT = flags.DEFINE_string('out', None, 'A CSV file to write as well.')


def main(argv):
  del argv
  logging.set_verbosity(logging.WARNING)
  from experiments import build
  from xdomain import checkpoint
  from xdomain.data import tables

  try:
    rows = recommend(RUN.value, USERS.value, TOP.value)
    if OUT.value:
      with open(OUT.value, 'w', encoding='utf-8', newline='') as file:
        csv.writer(file).writerows([('user', 'item', 'prediction'), *rows])
  except (
    build.ConfigError, tables.DataError, checkpoint.WrongCheckpoint, OSError
  ) as error:  # fmt: skip
    print(f'error: {error}', file=sys.stderr)
    sys.exit(1)
  for user, item, prediction in rows:
    print(f'{user}\t{item}\t{prediction:.3f}')


def recommend(folder, users, top):
  """`(user, item, prediction)` by raw ids, best first for each user.

  Items that a user has rated, in training or held out, are left out.

  Args:
    folder: of a finished run.
    users: raw ids.
    top: items a user.

  Raises:
    ConfigError: the folder holds no trained run, or a user is not known.
  """
  import jax.numpy as jnp
  import numpy as np

  from experiments import build, protocols, run

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
  ids, target = prepared.dataset.ids, prepared.dataset.pair.target
  rows = [_row(ids.users, user) for user in users]
  protocol = protocols.of(config)
  score = protocol.catalogue(prepared, method.model, progress.best)
  recommended = []
  for name, row in zip(users, rows):
    predictions = np.array(score(jnp.array([row]))[0])
    predictions[target.item[target.user == row]] = -np.inf
    for item in np.argsort(-predictions, kind='stable')[:top]:
      if np.isfinite(predictions[item]):
        value = float(predictions[item])
        recommended.append((name, str(ids.target[item]), value))
  return recommended


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


def _row(names, user):
  import numpy as np

  from experiments import build
  from xdomain import wording

  (found,) = np.nonzero(names == user)
  if not found.size:
    some = [str(name) for name in names[:5]]
    raise build.ConfigError(
      f'user {user!r} is not in the data{wording.instead(user, some)}, ...'
    )
  return int(found[0])


if __name__ == '__main__':
  app.run(main)
