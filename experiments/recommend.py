r"""The items that a trained run would give to some users, or to all.

python -m experiments.recommend --run=runs/darec_item-seed0-... --users=1,17
python -m experiments.recommend --run=runs/darec_item-seed0-... --out=top.csv
"""

import csv
import functools
import io
import json
import os
import pathlib
import sys

from absl import app, flags

from experiments import arguments

RUN = flags.DEFINE_string('run', None, 'The folder of a run.', required=True)
USERS = flags.DEFINE_list('users', [], 'Raw user ids; without, everybody.')
TOP = flags.DEFINE_integer('top', 10, 'Items a user.', lower_bound=1)
OUT = flags.DEFINE_string('out', None, 'A CSV file, instead of the terminal.')


def main(argv):
  del argv
  with arguments.program():
    say = functools.partial(print, file=sys.stderr)
    rows = recommend(RUN.value, USERS.value, TOP.value, say)
    if OUT.value:
      _write(OUT.value, rows)
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


def recommend(folder, users, top, say=print):
  """`(user, item, prediction)` by raw ids, best first for each user.

  Items that a user has events with, in training or held out, are left out; of
  own files also those that were rated too low to be positives. Of everybody,
  those are left out whom the method knows nothing of.

  Args:
    folder: of a finished run.
    users: raw ids; none is everybody.
    top: items a user.
    say: called with who is left out.

  Raises:
    ConfigError: the folder holds no trained run, or a user is not known to it.
  """
  import numpy as np

  from experiments import build, protocols, run
  from xdomain import ranking

  config = _config(folder)
  if build.is_sweep(config):
    raise build.ConfigError(
      f'{folder} holds a sweep; train the chosen member on its own'
      ' (--config.hyper.<name>=<value>)'
    )
  prepared = run.prepare(config, say=lambda line: None)
  run.finished(folder, [prepared])
  method = build.method(config, prepared.sizes)
  given = run.give(config, [prepared], method)
  progress = run.restore(config, [prepared], method, folder, given)
  if progress is None:
    raise build.ConfigError(f'{folder} holds no checkpoint; run it first')
  ids = prepared.dataset.ids
  seen = prepared.data if prepared.shown is None else prepared.shown
  told = _told(method.model, seen)
  rows = _rows(config, ids.users, users) if users else np.arange(ids.users.size)
  unknown = ids.users[rows[~told[rows]]]
  if unknown.size:
    why = f'without events that {config.method} could know them by'
    if method.model.target_only and config.view != 'merged':
      why += ', as it reads those of the target alone'
    if users:
      raise build.ConfigError(f'user {str(unknown[0])!r} is {why}')
    say(f'{unknown.size:,} people are {why}; they are left out')
    rows = rows[told]
  known = _known(config, prepared.dataset)
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


def _told(model, data):
  """`[U]` whether the model is told anything of a person."""
  import numpy as np

  read = (data.target, *(() if model.target_only else data.sources))
  return np.asarray(sum(domain.by_user.length for domain in read) > 0)


def _known(config, dataset):
  """`[U, T]` what users have events with, of which some are no positives."""
  import numpy as np

  from xdomain.data import arrays, load

  target = dataset.pair.target
  rated = load.rated(**config.data.to_dict())
  if rated is not None:
    user = _places(dataset.ids.users, rated.ids.users)[rated.pair.target.user]
    item = _places(dataset.ids.target, rated.ids.target)[rated.pair.target.item]
    there = (user >= 0) & (item >= 0)
    target = target._replace(
      user=np.append(target.user, user[there]),
      item=np.append(target.item, item[there]),
      value=np.append(target.value, np.ones(there.sum())),
    )
  return arrays.domain(target).by_user


def _places(names, of):
  """`[N]` where each of some raw ids stands among names, or -1."""
  import numpy as np

  place = {name: at for at, name in enumerate(names.tolist())}
  return np.array([place.get(name, -1) for name in of.tolist()], int)


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


def _rows(config, names, users):
  """`[Q]` rows of raw ids."""
  import numpy as np

  from experiments import build

  users = np.array(list(dict.fromkeys(users)))
  rows = _places(names, users)
  hint = ''
  if config.data.get('people') == 'both':
    hint = '; runs on --config.data.people=either keep those of one domain'
  for user in users[rows < 0]:
    raise build.ConfigError(
      f'user {str(user)!r} is not among the {names.size:,} people who are left'
      f' after all filters, such as {", ".join(names[:5].tolist())}{hint}'
    )
  return rows


if __name__ == '__main__':
  app.run(main)
