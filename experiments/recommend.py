r"""The items that a trained run would give to some users, or to all.

python -m experiments.recommend --run=runs/darec_item-seed0-... --users=1,17
python -m experiments.recommend --run=runs/darec_item-seed0-... \
  --users=@people.txt --out=top.csv
"""

import functools
import io
import os
import pathlib
import sys

from absl import app, flags

from experiments import arguments

RUN = flags.DEFINE_string('run', None, 'The folder of a run.', required=True)
USERS = flags.DEFINE_list(
  'users',
  [],
  'Raw user ids, or @ and a file with an id a line; without, everybody.',
)
TOP = flags.DEFINE_integer('top', 10, 'Items a user.', lower_bound=1)
OUT = flags.DEFINE_string(
  'out', None, 'A .csv, .json or .parquet file, instead of the terminal.'
)
WRITERS = {
  '.csv': 'write_csv',
  '.json': 'write_json',
  '.parquet': 'write_parquet',
}


def main(argv):
  del argv
  with arguments.program():
    path = OUT.value and _writable(OUT.value)
    say = functools.partial(print, file=sys.stderr)
    rows = recommend(RUN.value, _ids(USERS.value), TOP.value, say)
    if path:
      _write(path, rows)
  if path:
    users = len({user for user, _, _ in rows})
    print(f'{len(rows):,} items for {users:,} users are in {path}')
  else:
    _show(rows)


def _writable(path):
  """The path of a file, which is refused before anything is computed."""
  from xdomain.runs import spec as specs

  path = pathlib.Path(path)
  if path.suffix not in WRITERS:
    raise specs.SpecError(f'--out={path}: it can be written as {", ".join(WRITERS)}')
  if path.is_dir():
    raise specs.SpecError(f'--out={path} is a folder; name a file in it')
  return path


def _ids(words):
  """Raw user ids, of the command line or of the file that it names."""
  from xdomain.runs import spec as specs

  ids = words
  if len(words) == 1 and words[0].startswith('@'):
    ids = pathlib.Path(words[0][1:]).read_text('utf-8-sig').splitlines()
  ids = [each.strip() for each in ids if each.strip()]
  if words and not ids:
    raise specs.SpecError(f'--users={",".join(words)}: there is no id in it')
  return ids


def _write(path, rows):
  import polars as pl

  from xdomain import files

  schema = {'user': pl.String, 'item': pl.String, 'prediction': pl.Float32}
  frame = pl.DataFrame(rows, schema, orient='row')
  content = io.BytesIO()
  getattr(frame, WRITERS[path.suffix])(content)
  files.write(path, content.getvalue())


def _show(rows):
  try:
    for user, item, prediction in rows:
      print(f'{user}\t{item}\t{prediction:.4g}')
    sys.stdout.flush()
  except BrokenPipeError:  # Who reads has seen enough, as `head` has.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def recommend(folder, users, top, say=print):
  """`(user, item, prediction)` by raw ids, best first for each user.

  Items that a user has events with, in training or held out, are left out; of
  own files also those that were rated too low to be positives. A person is
  known by all events, held out or not, though the method was trained without
  the latter. Those whom it knows nothing of are left out.

  Args:
    folder: of a finished run.
    users: raw ids; none is everybody.
    top: items a user.
    say: called with who is left out.

  Raises:
    ConfigError: the folder holds no trained run, or no user is known to it.
  """
  import numpy as np

  from xdomain.evaluation import rankings
  from xdomain.runs import methods, prepare, protocols, run, store
  from xdomain.runs import spec as specs

  config = store.read_spec(folder)
  if specs.is_sweep(config):
    raise specs.SpecError(
      f'{folder} holds a sweep; train the chosen member on its own'
      ' (--config.hyper.<name>=<value>)'
    )
  prepared = prepare.prepare(config, say=lambda line: None)
  _check_finished(folder, store.records(folder, [prepared]))
  method = methods.of(config, prepared.sizes)
  given = run.give(config, [prepared], method)
  progress = run.restore(config, [prepared], method, folder, given)
  if progress is None:
    raise specs.SpecError(f'{folder} holds no checkpoint; run it first')
  ids = prepared.dataset.ids
  trained_on = prepared.data if prepared.shown is None else prepared.shown
  told = _told(method.model, trained_on)
  rows = _rows(config, ids.users, users, say)
  if not told[rows].all():
    why = f'without events that {config.method} could know them by'
    if method.model.target_only and config.view != 'merged':
      why += ', as it reads those of the target alone'
    _leave_out(ids.users[rows[~told[rows]]], why, say)
    rows = rows[told[rows]]
  if not rows.size:
    raise specs.SpecError('there is nobody left to recommend anything to')
  known = _known(config, prepared.dataset)
  rates = protocols.of(config).rates
  items, scores = rankings.best(
    method.model,
    progress.best,
    prepare.everything(prepared),
    known,
    rows,
    top,
    trained_on=trained_on if rates else None,
  )
  shown = np.clip(scores, *prepared.dataset.scale) if rates else scores
  return [
    (str(ids.users[row]), str(ids.target[item]), float(value))
    for row, *best in zip(rows, items, scores, shown, strict=True)
    for item, score, value in zip(*best)
    if np.isfinite(score)
  ]


def _check_finished(folder, records):
  from xdomain.runs import spec as specs

  if not records:
    raise specs.SpecError(
      f'{folder} holds a run that has not ended; its command, given again, goes'
      ' on with it'
    )
  if 'diverged' in records[0]:
    raise specs.SpecError(f'{folder}: {records[0]["diverged"]}')


def _told(model, data):
  """`[U]` whether the model is told anything of a person."""
  import numpy as np

  read = (data.target, *(() if model.target_only else data.sources))
  return np.asarray(sum(domain.by_user.length for domain in read) > 0)


def _known(config, dataset):
  """`[U, T]` what users have events with, of which some are no positives."""
  import numpy as np

  from xdomain.data import device, sources

  target = dataset.pair.target
  rated = sources.rated(**config.data)
  if rated is not None:
    user = _places(dataset.ids.users, rated.ids.users)[rated.pair.target.user]
    item = _places(dataset.ids.target, rated.ids.target)[rated.pair.target.item]
    there = (user >= 0) & (item >= 0)
    target = target._replace(
      user=np.append(target.user, user[there]),
      item=np.append(target.item, item[there]),
      value=np.append(target.value, np.ones(there.sum())),
    )
  return device.domain(target).by_user


def _places(names, of):
  """`[N]` where each of some raw ids stands among names, or -1."""
  import numpy as np

  place = {name: at for at, name in enumerate(names.tolist())}
  return np.array([place.get(name, -1) for name in of.tolist()], int)


def _rows(config, names, users, say):
  """`[Q]` rows of raw ids; none is everybody."""
  import numpy as np

  if not users:
    return np.arange(names.size)
  users = np.array(list(dict.fromkeys(map(str, users))))
  rows = _places(names, users)
  if np.any(rows < 0):
    filters = ('at_least', 'positive', 'users')
    of_data = [f'config.data.{name}' for name in filters if name in config.data]
    of_data = f' ({", ".join(of_data)})' if of_data else ''
    why = (
      f'not among the {names.size:,} people, such as'
      f' {", ".join(names[:3].tolist())}, who are left after all'
      f' filters{of_data}'
    )
    _leave_out(users[rows < 0], why, say)
  return rows[rows >= 0]


def _leave_out(users, why, say):
  """Says who is left out, and of some for whom that holds."""
  some = ', '.join(map(repr, users[:3].tolist()))
  more = f' and {users.size - 3:,} more' if users.size > 3 else ''
  say(f'left out: {some}{more}, {why}')


if __name__ == '__main__':
  app.run(main, flags_parser=arguments.parse)
