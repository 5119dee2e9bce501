r"""Growth of the cost with the interactions, and the parts of a run's time.

python -m benchmarks.scale
python -m benchmarks.scale --parts=linear --millions=0.1,1,10,50 --methods=bpr,ials
python -m benchmarks.scale --parts=profile --users=100000

`linear`: seconds of an epoch, and of full ranks of 10,000 users, on pairs of so many
million interactions a domain. Users grow with the interactions, 20 each; the 10,000
source and 20,000 target items do not. `profile`: a command's run on two CSV files of
so many users, 15 interactions each, by phase. It runs twice, and the second run is
reported: its programs are compiled, its files are read anew.

Seconds are CPU seconds of all threads, which other programs disturb least. Every case
is a process of its own; its peak memory is that of the process.
"""

import contextlib
import functools
import importlib
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from absl import app, flags, logging

METHODS = {  # A config and its argument.
  'item_pop': ('item_pop', ''),
  'bpr': ('bpr', 'alone'),
  'ials': ('ials', 'alone,cg'),
  'biased_mf': ('biased_mf', 'explicit,sgd'),
  'autorec': ('autorec', 'user'),
  'shared_vae': ('shared_vae', ''),
}
SOURCE, TARGET = 10_000, 20_000  # Items.
EACH = 20  # Interactions of a user in a domain.
RANKED = 10_000  # Users whose items are ranked in the catalogue.
EPOCHS = 3
# A phase and the functions whose own time it is, without that of other phases.
PHASES = (
  ('read', 'data.sources', 'dataset'),
  ('split and negatives', 'runs.prepare', '_split'),
  ('digests', 'data.cache', 'digest'),
  ('digests', 'data.splits', 'digest'),
  ('to the device', 'runs.prepare', 'of_split'),
  ('train', 'training.loop', '_train'),
  ('validate', 'training.loop', '_select'),
  ('ranks', 'runs.protocols', '_answers'),
  ('ranks', 'evaluation.rankings', 'ranks'),
  ('measures', 'evaluation.rankings', 'ranking_measures'),
  ('intervals', 'evaluation.rankings', 'interval'),
  ('predict', 'evaluation.ratings', 'predict_ratings'),
  ('measures', 'evaluation.ratings', 'rating_measures'),
  ('checkpoint', 'runs.store', 'save_checkpoint'),
  ('artefact', 'runs.trained', 'Trained.save'),
  ('records', 'runs.store', 'save_test'),
  ('records', 'runs.store', 'write_records'),
)
NAMES = tuple(dict.fromkeys(name for name, *_ in PHASES)) + ('the rest',)


class Clock:
  """CPU seconds of named phases; a phase within another is not part of it."""

  def __init__(self):
    self.seconds = dict.fromkeys(NAMES, 0.0)
    self._now = 'the rest'
    self._since = time.process_time()

  def enter(self, name: str) -> str:
    """Begins a phase; returns the one that it interrupts."""
    before, now = self._now, time.process_time()
    self.seconds[before] += now - self._since
    self._now, self._since = name, now
    return before

  def timed(self, name: str, function: Callable) -> Callable:
    """The function, as a phase."""

    @functools.wraps(function)
    def within(*args, **kwargs):
      before = self.enter(name)
      try:
        return function(*args, **kwargs)
      finally:
        self.enter(before)

    return within


@contextlib.contextmanager
def clocked() -> Iterator[Clock]:
  """Times the functions of `PHASES` in its block."""
  clock, undo = Clock(), []
  for name, module, attribute in PHASES:
    owner: Any = importlib.import_module(f'xdomain.{module}')
    *path, last = attribute.split('.')
    for part in path:
      owner = getattr(owner, part)
    undo.append((owner, last, getattr(owner, last)))
    setattr(owner, last, clock.timed(name, getattr(owner, last)))
  try:
    yield clock
  finally:
    clock.enter('the rest')
    for owner, last, function in reversed(undo):
      setattr(owner, last, function)


def interactions(seed: int, users: int, items: int, n: int):
  """`n` distinct users and items, more of active users and popular items."""
  rng = np.random.default_rng(seed)
  activity = rng.lognormal(sigma=0.5, size=users)
  popularity = (10.0 + rng.permutation(items)) ** -0.9
  cells = np.arange(users) * items + rng.integers(items, size=users)
  while cells.size < n:
    more = n + n // 4 - cells.size
    user, item = (
      np.searchsorted(np.cumsum(w) / np.sum(w), rng.random(more)).clip(max=w.size - 1)
      for w in (activity, popularity)
    )
    cells = np.unique(np.concatenate([cells, user * items + item]))
  cells = rng.permutation(cells)[:n]
  value = rng.integers(2, 8, size=n).clip(max=5)
  return cells // items, cells % items, value


def _ratings(seed, users, items, n):
  from xdomain.data import types

  user, item, value = interactions(seed, users, items, n)
  columns = user.astype(np.int32), item.astype(np.int32), value.astype(np.float32)
  return types.Ratings(*columns, np.zeros(0), users, items)


def _config(method):
  file, argument = METHODS[method]
  return importlib.import_module(f'configs.{file}').get_config(argument)


def linear(method: str, size: float) -> dict:
  """An epoch of the last stage, and ranks, at so many million interactions."""
  import jax

  from benchmarks import baselines
  from xdomain.data import device, types
  from xdomain.evaluation import rankings
  from xdomain.runs import methods, prepare
  from xdomain.runs import spec as specs

  n = round(size * 1e6)
  users = max(1, n // EACH)
  pair = types.Pair(
    _ratings(1, users, SOURCE, n),
    _ratings(2, users, TARGET, n),
  )
  spec = specs.from_config(_config(method))
  seen = prepare.VIEWS[spec.view](None, pair)
  data = device.put(seen)
  made = methods.of(spec, device.sizes(seen))
  done, form = (), None
  for stage in made.model.stages:
    form = baselines.compiled(stage, data, made.hyper, done)
    done = (*done, stage.keep(form.state))
  seconds, state = [], None
  for _ in range(EPOCHS):
    fresh = jax.block_until_ready(jax.tree.map(lambda x: x.copy(), form.state))
    began = time.process_time()
    state, _, _ = jax.block_until_ready(form.program(fresh, *form.rest))
    seconds.append(time.process_time() - began)
  result = {'users': users, 'epoch': min(seconds), 'compile': form.compiled}
  if spec.protocol != 'rating':
    ranked = np.random.default_rng(0).choice(users, min(users, RANKED), replace=False)
    queries = device.ranking_queries(
      types.HeldOut(
        ranked.astype(np.int32),
        np.zeros(ranked.size, np.int32),
        None,
        np.ones((ranked.size, 1), np.int32),
      )
    )
    kept = made.model.stages[-1].keep(state)
    took = []
    for _ in range(2):  # The first compiles.
      began = time.process_time()
      rankings.ranks(made.model, kept, data, queries, data.target.by_user)
      took.append(time.process_time() - began)
    result['rank'] = took[-1]
  return result


def profile(method: str, users: int) -> dict:
  """CPU seconds of each phase of a run on two files."""
  from xdomain.runs import prepare, run
  from xdomain.runs import spec as specs

  with tempfile.TemporaryDirectory() as folder:
    files = [pathlib.Path(folder) / f'{name}.csv' for name in ('source', 'target')]
    for k, (file, items) in enumerate(zip(files, (SOURCE, TARGET))):
      _write(file, *interactions(k, users, items, 15 * users))
    file, argument = METHODS[method]
    module = importlib.import_module(f'configs.{file}')
    config = module.get_config(','.join(filter(None, [argument, 'tables'])))
    config.data.update(source=str(files[0]), target=str(files[1]))
    config.update(epochs=EPOCHS, patience=EPOCHS, every=1)
    spec = specs.from_config(config)
    for turn in ('first', 'second'):
      with _cache_in(f'{folder}/{turn}'), clocked() as clock:
        prepared = prepare.prepare(spec, say=lambda line: None)
        prepared = prepare.seen_by(spec, prepared)
        run.run(spec, prepared, f'{folder}/run_{turn}', watch=lambda report: None)
  return {'users': prepared.sizes.users, 'seconds': clock.seconds}


@contextlib.contextmanager
def _cache_in(folder):
  import os

  before = os.environ.get('XDOMAIN_DATA')
  os.environ['XDOMAIN_DATA'] = folder
  try:
    yield
  finally:
    os.environ.pop('XDOMAIN_DATA')
    if before is not None:
      os.environ['XDOMAIN_DATA'] = before


def _write(file, user, item, value):
  import polars

  columns = {
    'user': np.char.add('u', user.astype(str)),
    'item': np.char.add('i', item.astype(str)),
    'rating': value,
  }
  polars.DataFrame(columns).write_csv(file)


# --- The report ---------------------------------------------------------------


def cell(part: str, method: str, size: float, limit: float) -> dict | None:
  """A case, in a process of its own; None where it takes longer than the limit."""
  command = [sys.executable, '-m', 'benchmarks.scale', f'--cell={part},{method},{size}']
  try:
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
  except subprocess.TimeoutExpired:
    return None
  if done.returncode:
    raise RuntimeError(f'{part} of {method}, {size:g}:\n{done.stderr[-2000:]}')
  return json.loads(done.stdout.splitlines()[-1])


def run_cell(text: str) -> None:
  """Prints the case as JSON."""
  part, method, size = text.split(',')
  of = {'linear': linear, 'profile': profile}[part]
  result = of(method, float(size) if part == 'linear' else int(float(size)))
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
  print(json.dumps(result | {'mib': peak}))


def linear_table(methods, sizes, limit, found) -> Iterator[str]:
  """The rows of `linear`; fills `found` with seconds by method and size."""
  from xdomain.reporting import render

  heads = 'method', 'M interactions', 'users', 'epoch s', 'us an interaction'
  yield render.markdown_row((*heads, 'ranks of 10,000 users s', 'peak MiB'))
  yield render.markdown_row(['---'] * 7)
  for method in methods:
    for size in sizes:
      got = cell('linear', method, size, limit)
      if got is None:
        over = f'over {limit:g}'
        yield render.markdown_row((method, f'{size:g}', '', over, '', '', ''))
        break
      found.setdefault(method, {})[size] = got['epoch']
      yield render.markdown_row(
        (
          method,
          f'{size:g}',
          f'{got["users"]:,}',
          f'{got["epoch"]:.3f}',
          f'{got["epoch"] / size:.3f}',
          f'{got["rank"]:.1f}' if 'rank' in got else '',
          f'{got["mib"]:,.0f}',
        )
      )


def profile_table(methods, users, limit) -> Iterator[str]:
  """A row for each method: seconds and share of each phase."""
  from xdomain.reporting import render

  heads = 'method', 'users after filters', 'all', *NAMES, 'peak MiB'
  yield render.markdown_row(heads)
  yield render.markdown_row(['---'] * len(heads))
  for method in methods:
    got = cell('profile', method, users, limit)
    if got is None:
      cells = method, '', f'over {limit:g}', *[''] * (len(NAMES) + 1)
    else:
      total = sum(got['seconds'].values())
      shares = (f'{s:.2f} ({s / total:.0%})' for s in got['seconds'].values())
      cells = method, f'{got["users"]:,}', f'{total:.1f}', *shares, f'{got["mib"]:,.0f}'
    yield render.markdown_row(cells)


def plot(found: dict[str, dict[float, float]], path: pathlib.Path) -> None:
  """Seconds of an epoch over millions of interactions, both logarithmic."""
  from xdomain.reporting import drawing, figures

  @drawing.styled
  def draw():
    figure, axes = drawing.empty('million interactions a domain', 'CPU s an epoch')
    for k, (method, seconds) in enumerate(found.items()):
      axes.loglog(
        list(seconds),
        list(seconds.values()),
        marker=figures.MARKERS[k],
        color=figures.COLORS[k % len(figures.COLORS)],
        label=method,
      )
    return drawing.with_legend(figure, [axes])

  figures.save(draw(), path)


def main(argv):
  del argv
  logging.set_verbosity(logging.ERROR)
  if flags.FLAGS.cell:
    run_cell(flags.FLAGS.cell)
    return
  methods, limit = flags.FLAGS.methods, flags.FLAGS.limit
  unknown = [name for name in methods if name not in METHODS]
  if unknown:
    raise app.UsageError(f'no case {unknown[0]!r}; there are {", ".join(METHODS)}')
  if 'profile' in flags.FLAGS.parts:
    print(f'Phases of a run, {flags.FLAGS.users:,} users, CPU s:\n')
    for line in profile_table(methods, flags.FLAGS.users, limit):
      print(line, flush=True)
    print()
  if 'linear' in flags.FLAGS.parts:
    found = {}
    print('Growth with the interactions, CPU s:\n')
    sizes = [float(size) for size in flags.FLAGS.millions]
    for line in linear_table(methods, sizes, limit, found):
      print(line, flush=True)
    if flags.FLAGS.plot:
      plot(found, pathlib.Path(flags.FLAGS.plot))


if __name__ == '__main__':
  # Not at import: flags of all benchmarks share one space of names.
  flags.DEFINE_list('parts', ['profile', 'linear'], 'Which parts.')
  flags.DEFINE_list('methods', list(METHODS), 'Which methods.')
  flags.DEFINE_list('millions', ['0.2', '1', '5'], 'Interactions a domain.')
  flags.DEFINE_integer('users', 100_000, 'Users of the profile.', lower_bound=100)
  flags.DEFINE_float('limit', 600, 'Seconds that a case may take.')
  flags.DEFINE_string('plot', '', 'The file of the plot, without its ending.')
  flags.DEFINE_string('cell', '', 'One case: part,method,size.')
  app.run(main)
