r"""Growth of the cost with the interactions, and the parts of a run's time.

python -m benchmarks.scale
python -m benchmarks.scale --parts=linear --out=results/benchmarks/growth
python -m benchmarks.scale --parts=linear --millions=0.1,1,10,50 --methods=bpr,ials
python -m benchmarks.scale --parts=linear --millions=20 --items=200000,200000 \
  --methods=bpr,ials
python -m benchmarks.scale --parts=profile --users=100000
python -m benchmarks.scale --parts=profile --users=1000000 --items=200000,200000 --once
python -m benchmarks.scale --parts=files --rows=5,20,75

`linear`: seconds of the split with its negatives, an epoch, full ranks of 10,000 users
and lists for 10,000, on pairs of so many million interactions a domain. Users grow with
the interactions, 20 each; the items do not: there are few of them where the cost of an
epoch or of its memory is users x items or worse (`CATALOGUES`). `--out` writes the
table and a plot after each case; a case that `--folder` has from before is not measured
again. `profile`: a command's run on two CSV files
of so many users, 15 interactions each, by phase. It runs twice, and the second run is
reported: its programs are compiled, its files are read anew. With `--once` its only run
is reported, compilation included. `files`: reading two files
of so many million rows together, in the shape of Amazon's: a third in the source, 7.5
rows for each user, 25 and 22 for each item, in random order. The users of both domains
and their ratings of 4 and 5 are then cached, loaded from the cache and split.

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

from benchmarks import numbers

METHODS = {  # A config, its argument and settings of its model.
  'item_pop': ('item_pop', ''),
  'bpr': ('bpr', 'alone'),
  'ials': ('ials', 'alone'),
  'ials_cg': ('ials', 'alone,cg'),
  'shared_vae': ('shared_vae', ''),
  'ease': ('ease', 'alone'),
  'shared_vae_512': ('shared_vae', '', dict(batch=512)),
  'biased_mf': ('biased_mf', 'explicit,sgd'),
  'autorec': ('autorec', 'user'),
}
GROWTH = 'item_pop', 'bpr', 'ials_cg', 'shared_vae', 'ease'
# Source and target items of a method whose cost is not of the interactions alone.
CATALOGUES = {'shared_vae': (1000, 2000), 'ease': (1000, 2000)}
ITEMS = 10_000, 20_000  # of the source and the target
EACH = 20  # Interactions of a user in a domain.
RANKED = 10_000  # Users whose items are ranked in the catalogue.
EPOCHS = 3
LONG = 30  # CPU seconds after which no further epoch begins
# Domains of `files`: the share of the rows, and the rows of an item.
DOMAINS = {'source': (1 / 3, 25), 'target': (2 / 3, 22)}
# A phase and the functions whose own time it is, without that of other phases.
PHASES = (
  ('read', 'data.sources', 'dataset'),
  ('split and negatives', 'runs.prepare', '_split'),
  ('digests', 'data.cache', 'digest'),
  ('digests', 'data.splits', 'digest'),
  ('to the device', 'runs.prepare', 'of_split'),
  ('compile', 'training.loop', '_compile'),
  ('train', 'training.loop', '_train'),
  ('validate', 'training.loop', '_measured'),
  ('validate', 'training.loop', '_select'),
  ('ranks', 'runs.protocols', '_answers'),
  ('ranks', 'evaluation.rankings', 'ranks'),
  ('measures', 'evaluation.rankings', 'ranking_measures'),
  ('intervals', 'evaluation.rankings', 'interval'),
  ('lists and buckets', 'evaluation.lists', 'beyond_accuracy'),
  ('lists and buckets', 'data.buckets', 'means'),
  ('audit', 'data.audit', 'summary'),
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


def interactions(seed: int, users: int, items: int, n: int, spread: float = 0.5):
  """`n` distinct users and items, more of active users and popular items."""
  rng = np.random.default_rng(seed)
  activity = rng.lognormal(sigma=spread, size=users)
  popularity = (10.0 + rng.permutation(items)) ** -0.9
  cells = np.arange(users) * items + rng.integers(items, size=users)
  while cells.size < n:
    more = n + n // 4 - cells.size
    user, item = (
      np.repeat(np.arange(w.size), rng.multinomial(more, w / w.sum()))
      for w in (activity, popularity)
    )
    cells = np.sort(np.concatenate([cells, user * items + rng.permutation(item)]))
    cells = cells[np.diff(cells, prepend=-1) > 0]  # `np.unique` takes 20 times as long.
  cells = rng.permutation(cells)[:n]
  value = rng.integers(2, 8, size=n).clip(max=5)
  return cells // items, cells % items, value


def _ratings(seed, users, items, n, rates):
  from xdomain.data import types

  user, item, value = interactions(seed, users, items, n)
  value = value if rates else np.ones(n)
  columns = user.astype(np.int32), item.astype(np.int32), value.astype(np.float32)
  return types.Ratings(*columns, np.zeros(0, np.int64), users, items)


def _config(method, *arguments):
  file, argument, *settings = METHODS[method]
  module = importlib.import_module(f'configs.{file}')
  config = module.get_config(','.join(filter(None, [argument, *arguments])))
  for each in settings:
    config.model.update(each)
  return config


def linear(method: str, size: float, items: tuple[int, int]) -> dict:
  """The split, an epoch of the last stage, ranks and lists of a pair.

  Args:
    method: of `METHODS`.
    size: millions of interactions of a domain.
    items: of the source and the target.
  """
  import jax

  from benchmarks import baselines
  from xdomain.data import device, splits, types
  from xdomain.evaluation import rankings
  from xdomain.runs import methods, prepare
  from xdomain.runs import spec as specs

  n = round(size * 1e6)
  users = max(1, n // EACH)
  result: dict[str, float] = {'users': users, 'items': items[1]}

  def found(**more):
    result.update(more)
    print(json.dumps(result), flush=True)  # If the rest takes too long.

  spec = specs.from_config(_config(method))
  rates = spec.protocol == 'rating'
  source, target = items
  pair = types.Pair(
    _ratings(1, users, source, n, rates),
    _ratings(2, users, target, n, rates),
  )
  began = time.process_time()
  split = (splits.by_ratio if rates else splits.leave_one_out)(pair)
  found(split=time.process_time() - began)
  known, pair = pair.target, split.train
  seen = prepare.VIEWS[spec.view](None, pair)
  began = time.process_time()
  data = device.put(seen)
  found(put=time.process_time() - began)
  made = methods.of(spec, device.sizes(seen))
  *before, last = made.model.stages
  done = ()
  for stage in before:
    first = baselines.compiled(stage, data, made.hyper, done).state
    done = (*done, stage.keep(first))
  form = baselines.compiled(last, data, made.hyper, done)
  seconds, state = [], None
  while len(seconds) < EPOCHS and sum(seconds) < LONG:
    fresh = jax.block_until_ready(jax.tree.map(lambda x: x.copy(), form.state))
    began = time.process_time()
    state, _, _ = jax.block_until_ready(form.program(fresh, *form.rest))
    seconds.append(time.process_time() - began)
    found(epoch=min(seconds), compile=form.compiled)
  if rates:
    return result
  kept = last.keep(state)
  held = split.test.target
  test = types.HeldOut(*(column[:RANKED] for column in held))
  queries, of_users = device.ranking_queries(test), device.by_user(known)
  for name, answer in (
    ('rank', lambda: rankings.ranks(made.model, kept, data, queries, of_users)),
    ('list', lambda: rankings.best(made.model, kept, data, of_users, test.user, 10)),
  ):
    for _ in range(2):  # The first compiles, which counts little where it takes long.
      began = time.process_time()
      answer()
      found(**{name: time.process_time() - began})
      if result[name] > LONG / 3:
        break
  return result


def files(size: float) -> dict:
  """Wall seconds, CPU seconds and peak memory of each step from files to a split."""
  from xdomain.data import align, cache, filters, splits
  from xdomain.data.readers import tables

  form, folder = flags.FLAGS.form, pathlib.Path(flags.FLAGS.folder)
  steps, kept = {}, {}

  def step(name, function):
    wall, cpu = time.perf_counter(), time.process_time()
    made = function()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    steps[name] = time.perf_counter() - wall, time.process_time() - cpu, peak
    print(json.dumps({'users': 0, 'steps': steps}), flush=True)  # If it takes too long.
    return made

  for k in DOMAINS:
    path = folder / f'{k}-{size:g}.{form}'
    kept[k] = step(f'read {k}', lambda path=path: tables.read(path, time='time'))
  pair = step('align', lambda: align.align(*kept.values(), name='files'))
  kept.clear()
  pair = step('positives', lambda: filters.positives(pair, 4.0))
  path = folder / 'pair.npz'
  step('write the cache', lambda: cache.save(pair, path))
  del pair
  pair = step('load the cache', lambda: cache.load(path))
  step('split and negatives', lambda: splits.leave_one_out(pair))
  return {'users': pair.pair.target.n_users, 'steps': steps}


def write_files(size: float) -> dict:
  """Writes the files of `files`, as CSV and as Parquet, where they are not yet."""
  import polars as pl

  folder, rows = pathlib.Path(flags.FLAGS.folder), round(size * 1e6)
  for domain, (share, of_item) in DOMAINS.items():
    if (folder / f'{domain}-{size:g}.parquet').exists():
      continue
    n, users = round(rows * share), max(1, round(rows / 7.5))
    user, item, value = interactions(
      len(domain), users, max(9, round(n / of_item)), n, 1.0
    )
    time_of = np.random.default_rng(0).integers(8 * 10**8, 16 * 10**8, n)
    columns = {'user': user, 'item': item, 'rating': value, 'time': time_of}
    frame = pl.LazyFrame(columns).with_columns(
      user=pl.lit('A') + pl.col('user').cast(pl.String).str.zfill(13),
      item=pl.lit(domain[0].upper()) + pl.col('item').cast(pl.String).str.zfill(9),
      rating=pl.col('rating').cast(pl.Float32),
    )
    frame.sink_csv(folder / f'{domain}-{size:g}.csv')
    frame.sink_parquet(folder / f'{domain}-{size:g}.parquet')
  return {}


def profile(
  method: str, users: int, items: tuple[int, int] = ITEMS, once: bool = False
) -> dict:
  """CPU seconds of each phase of a run on two files.

  Args:
    method: of `METHODS`.
    users: of both domains.
    items: of the source and the target.
    once: whether the first run is reported; else the second.
  """
  from xdomain.runs import prepare, run
  from xdomain.runs import spec as specs

  with tempfile.TemporaryDirectory() as folder:
    files = [pathlib.Path(folder) / f'{name}.csv' for name in ('source', 'target')]
    for k, (file, n) in enumerate(zip(files, items)):
      write(file, *interactions(k, users, n, 15 * users))
    config = _config(method, 'tables')
    config.data.update(source=str(files[0]), target=str(files[1]))
    config.update(epochs=EPOCHS, patience=EPOCHS, every=1)
    spec = specs.from_config(config)
    for turn in ('only',) if once else ('first', 'second'):
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


def write(file: pathlib.Path, user: np.ndarray, item: np.ndarray, value: np.ndarray):
  """Writes interactions as a CSV file."""
  import polars

  columns = {
    'user': np.char.add('u', user.astype(str)),
    'item': np.char.add('i', item.astype(str)),
    'rating': value,
  }
  polars.DataFrame(columns).write_csv(file)


# --- The report ---------------------------------------------------------------


def cell(part: str, method: str, size: float, limit: float) -> dict | None:
  """A case, in a process of its own; None where it takes longer than the limit.

  A case that prints what it has so far ends with that.
  """
  command = [sys.executable, '-m', 'benchmarks.scale', f'--cell={part},{method},{size}']
  items = ','.join(map(str, flags.FLAGS.items))
  command += [f'--items={items}', f'--form={flags.FLAGS.form}']
  command += [f'--folder={flags.FLAGS.folder}', f'--once={flags.FLAGS.once}']
  try:
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
  except subprocess.TimeoutExpired as error:
    lines = (error.stdout or b'').splitlines()
    return json.loads(lines[-1]) if lines else None
  if done.returncode:
    raise RuntimeError(f'{part} of {method}, {size:g}:\n{done.stderr[-2000:]}')
  return json.loads(done.stdout.splitlines()[-1])


def _once(part, method, size, limit) -> dict | None:
  """A case as `cell`, or as it was measured before, with the same items."""
  items = '-'.join(map(str, _items(part, method)))
  folder = pathlib.Path(flags.FLAGS.folder)
  path = folder / f'{part}-{method}-{size:g}-{items}.json'
  if path.exists():
    return json.loads(path.read_text())
  found = cell(part, method, size, limit)
  if found is not None and 'mib' in found:  # It ended in time.
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found))
  return found


def _items(part, method) -> tuple[int, int]:
  """Source and target items: those of the command, else of the case."""
  if flags.FLAGS.items:
    source, target = flags.FLAGS.items
    return source, target
  return ITEMS if part == 'profile' else CATALOGUES.get(method, ITEMS)


def run_cell(text: str) -> None:
  """Prints the case as JSON."""
  part, method, size = text.split(',')
  size = float(size)
  items = _items(part, method)
  result = {
    'linear': lambda: linear(method, size, items),
    'profile': lambda: profile(method, int(size), items, flags.FLAGS.once),
    'write': lambda: write_files(size),
    'files': lambda: files(size),
  }[part]()
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
  print(json.dumps(result | {'mib': peak}))


def linear_table(methods, sizes, limit, found) -> Iterator[str]:
  """The rows of `linear`; fills `found` with its cells by method and size."""
  from xdomain.reporting import render

  heads = 'method', 'target items', 'M interactions', 'users', 'split', 'epoch'
  heads = *heads, 'us an interaction', 'ranks of 10,000 users', 'lists for 10,000'
  heads = *heads, 'peak MiB'
  yield render.markdown_row(heads)
  yield render.markdown_row(['---'] * len(heads))
  for method in methods:
    for size in sizes:
      got = _once('linear', method, size, limit)
      if got is None or 'epoch' not in got:
        over = f'over {limit:g} s'
        yield render.markdown_row((method, '', f'{size:g}', '', '', over, *[''] * 4))
        break
      if 'mib' in got:
        found.setdefault(method, {})[size] = got
      yield render.markdown_row(
        (
          method,
          f'{got["items"]:,}',
          f'{size:g}',
          f'{got["users"]:,}',
          f'{got["split"]:.2f}',
          f'{got["epoch"]:.3f}',
          f'{got["epoch"] / size:.3f}',
          *(f'{got[name]:.1f}' if name in got else '' for name in ('rank', 'list')),
          f'{got["mib"]:,.0f}' if 'mib' in got else f'over {limit:g} s',
        )
      )


def files_table(sizes, limit) -> Iterator[str]:
  """A row for each step and size: wall seconds, CPU seconds and peak memory."""
  from xdomain.reporting import render

  heads = 'M rows', 'step', 's', 'CPU s', 'peak GiB until then'
  yield render.markdown_row(heads)
  yield render.markdown_row(['---'] * len(heads))
  for size in sizes:
    cell('write', '', size, limit)
    got = cell('files', '', size, limit)
    if got is None:
      yield render.markdown_row((f'{size:g}', f'over {limit:g} s', '', '', ''))
      break
    for name, (wall, cpu, peak) in got['steps'].items():
      cells = f'{size:g}', name, f'{wall:.1f}', f'{cpu:.1f}', f'{peak:.2f}'
      yield render.markdown_row(cells)
    if not got['users']:
      yield render.markdown_row((f'{size:g}', f'over {limit:g} s', '', '', ''))


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


def plot(found: dict[str, dict[float, dict]], path: str) -> None:
  """An epoch and the peak memory over millions of interactions, all logarithmic.

  A dotted line of each panel grows with the interactions.
  """
  from xdomain.reporting import drawing, figures

  labels = {'CPU s an epoch': 'epoch', 'peak memory, MiB': 'mib'}

  @drawing.styled
  def draw():
    figure, panels = drawing.panels('million interactions a domain', [*labels])
    for axes, name in zip(panels, labels.values()):
      highest = []
      for k, (method, cells) in enumerate(found.items()):
        # What takes no time at all has no logarithm.
        points = {size: max(1e-3, got[name]) for size, got in cells.items()}
        style: Any = dict(marker=figures.MARKERS[k], color=figures.COLORS[k])
        axes.loglog(list(points), list(points.values()), label=method, **style)
        highest += points.items()
      size, most = max(highest, key=lambda point: point[1])
      least = min(size for size, _ in highest)
      line: Any = dict(color='0.6', linestyle=':', label='linear')
      axes.loglog([least, size], [most * least / size, most], **line)
      sizes = sorted({size for size, _ in highest})
      axes.set_xticks(sizes, [f'{size:g}' for size in sizes])
      axes.set_xticks([], minor=True)
    return drawing.with_legend(figure, panels)

  figures.save(draw(), path)


def growth(methods, sizes, limit: float, out: str) -> Iterator[str]:
  """The lines of `linear`; with `out`, files of them and of a plot after each case."""
  from xdomain import files

  found, lines = {}, []
  command = 'python -m benchmarks.scale --parts=linear'
  command += f' --methods={",".join(methods)} --millions={",".join(map(str, sizes))}'
  head = f'# How cost grows with interactions\n\n`{command}`, CPU seconds:\n\n'
  for line in linear_table(methods, sizes, limit, found):
    lines.append(line)
    if out and found:
      plot(found, out)
      image = (
        f'![CPU seconds and memory over interactions]({pathlib.Path(out).name}.svg)'
      )
      text = head + '\n'.join(lines) + f'\n\n{image}\n'
      files.write(pathlib.Path(f'{out}.md'), text.encode())
    yield line


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
  if 'files' in flags.FLAGS.parts:
    print(f'From {flags.FLAGS.form} files to a split:\n')
    pathlib.Path(flags.FLAGS.folder).mkdir(parents=True, exist_ok=True)
    for line in files_table(flags.FLAGS.rows, limit):
      print(line, flush=True)
    print()
  if 'linear' in flags.FLAGS.parts:
    print('Growth with the interactions, CPU s:\n')
    for line in growth(methods, flags.FLAGS.millions, limit, flags.FLAGS.out):
      print(line, flush=True)


if __name__ == '__main__':
  # Not at import: flags of all benchmarks share one space of names.
  flags.DEFINE_list('parts', ['profile', 'linear'], 'Which parts.')
  flags.DEFINE_list('methods', list(GROWTH), 'Which methods.')
  numbers.define('millions', [0.2, 1.0, 5.0], 'Interactions a domain.')
  numbers.define('items', [], 'Source and target items; those of the case if empty.')
  flags.register_validator(
    'items', lambda items: len(items) in (0, 2), 'expected two numbers'
  )
  flags.DEFINE_bool('once', False, 'Whether a profile is of the first run.')
  numbers.define('rows', [5.0], 'Million rows of both files together.')
  flags.DEFINE_enum('form', 'csv', ['csv', 'parquet'], 'The form of the files.')
  flags.DEFINE_string('folder', '/tmp/xdomain-scale', 'Where files and cases are kept.')
  flags.DEFINE_integer('users', 100_000, 'Users of the profile.', lower_bound=100)
  flags.DEFINE_float('limit', 600, 'Seconds that a case may take.')
  flags.DEFINE_string('out', '', 'Where growth is written: .md, .png and .svg of it.')
  flags.DEFINE_string('cell', '', 'One case: part,method,size.')
  app.run(main)
