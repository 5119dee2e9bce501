"""A `Spec` with a sweep -> the runs that it stands for, and a report on them.

Settings are trained one after another, since each compiles another program. Seeds
and hyper-parameters are trained at once, as many as fit on the device.
"""

import math
import pathlib
from collections.abc import Callable, Iterator, Sequence

import jax

from xdomain import files
from xdomain.reporting import plots, render, tables, terminal
from xdomain.reporting import records as records_lib
from xdomain.runs import memory, methods, prepare, protocols, run, sharing, store
from xdomain.runs import spec as specs

Part = tuple[specs.Spec, list[prepare.Prepared]]  # A run, and the data of its seeds.


def turns(
  config: specs.Spec,
  prepared_for: Callable[[specs.Spec], prepare.Prepared],
  folder: pathlib.Path | None = None,
) -> Iterator[Part]:
  """Groups of seeds that fit on the device with all their members.

  Args:
    config: of a sweep, or of one run.
    prepared_for: returns the data of a spec of one seed.
    folder: keeps the number of members that fitted, so that a sweep resumes with it.

  Yields:
    The spec with the seeds of one turn, and their data. Splits of other sizes have
    turns of their own.
  """
  every = specs.by_seed(config)
  ready = {0: prepared_for(every[0])}
  count = _seeds_at_once(config, ready[0], folder)
  if count > 1:
    ready[1] = prepared_for(every[1])
    count = count if prepare.alike([*ready.values()]) else 1
  for begin in range(0, len(every), count):
    turn = range(begin, min(begin + count, len(every)))
    several = [ready.pop(at) if at in ready else prepared_for(every[at]) for at in turn]
    seeds = tuple(every[at].seed for at in turn)
    together = specs.replaced(config, sweep=dict(seed=seeds))
    yield (together if len(turn) > 1 else every[begin]), several


def _seeds_at_once(config, prepared, folder):
  """The number of seeds that fit with the members of any setting, at least 1."""
  if len(config.sweep.seed) < 2:
    return 1
  of_settings = [
    (len(specs.members(each)), _width(each, prepared, folder))
    for each in _by_setting(config)
  ]
  fitting = [
    count
    for count in range(2, len(config.sweep.seed) + 1)
    if all(memory.fits(count * of_one, width) for of_one, width in of_settings)
  ]
  return max(fitting, default=1)


def parts(
  config: specs.Spec,
  several: list[prepare.Prepared],
  folder: pathlib.Path | None = None,
) -> list[Part]:
  """The runs of a turn: one for each setting, and for as many members as fit.

  Args:
    config: of a turn.
    several: the data of its seeds.
    folder: as for `turns`.
  """
  if len(several) > 1 and not prepare.alike(
    [prepare.seen_by(config, each) for each in several]
  ):
    return _alone(parts, config, several, folder)
  every = []
  for of_setting in _by_setting(config):
    methods.check(of_setting)  # Before hours of training, not after.
    every += _chunks(of_setting, several, folder)
  return every


def _alone(parts, config, several, folder):
  """The parts of each seed on its own."""
  alone = zip(specs.by_seed(config), several)
  return [part for one, of in alone for part in parts(one, [of], folder)]


def _by_setting(config):
  """The spec of each combination of swept settings."""
  blank = dict.fromkeys(config.sweep.model, ())
  return [
    specs.replaced(config, model=setting, sweep=dict(model=blank))
    for setting in specs.product(config.sweep.model)
  ]


def _chunks(config, several, folder):
  """The runs of one setting, by as many members as fit."""
  every = specs.members(config)
  if len(every) * len(several) == 1:
    return [(config, several)]
  width = _width(config, several[0], folder)
  if memory.fits(len(every) * len(several), width):
    return [(config, several)]
  if len(several) > 1:
    return _alone(_chunks, config, several, folder)
  blank = dict.fromkeys(config.sweep.hyper, ())

  def of_members(listed):
    return specs.replaced(config, sweep=dict(hyper=blank, members=listed))

  return [
    (of_members(tuple(every[turn])), several)
    for turn in memory.chunks(len(every), width)
  ]


@sharing.once  # Hosts may differ in free memory.
def _width(config, prepared, folder):
  """The number of members that fit on the device, or fitted when the sweep began."""
  if config.width:
    return config.width
  apart = len(config.sweep.seed) > 1
  of_any = specs.replaced(config, seed=0, sweep=dict(seed=(0, 1) if apart else ()))
  file = folder and store.folder_of(of_any, folder, 'width') / 'members.json'
  if file and file.exists():
    kept = files.read_json(file)
    if not isinstance(kept, int) or kept < 1:
      raise files.DamagedFile(f'{file} is not a number of members; delete it')
    return kept
  prepared = prepare.seen_by(config, prepared)
  method = methods.of(config, prepared.sizes)
  width = memory.width(
    method.model,
    jax.random.key(config.seed),
    prepared.data,
    jax.tree.map(lambda leaf: leaf[0] if leaf.ndim else leaf, method.hyper),
    prepared.valid,
    protocols.of(config).measure(prepared.dataset, method.model),
    own=(prepared.data, prepared.valid, prepared.shown) if apart else None,
  )
  if file:
    files.write_json(file, width)
  return width


def run_all(
  config: specs.Spec,
  prepared_for: Callable[[specs.Spec], prepare.Prepared],
  folder: pathlib.Path,
  workdir: pathlib.Path,
  display: terminal.Terminal,
) -> list[tuple[pathlib.Path, list[dict]]]:
  """Trains all seeds and members of a spec; the folder and records of each run.

  Args:
    config: of a sweep, or of one run.
    prepared_for: as for `turns`.
    folder: as for `turns`.
    workdir: of the run folders.
    display: shows progress.
  """
  done, seeds = [], max(1, len(config.sweep.seed))
  for turn, several in turns(config, prepared_for, folder):
    runs = parts(turn, several, folder)
    count = len(runs) * -(-seeds // len(several))
    for part, data in runs:
      into = store.folder_of(part, workdir)
      done.append((into, run_shown(part, data, into, display, len(done), count)))
  return done


def run_shown(
  config: specs.Spec,
  data: prepare.Prepared | list[prepare.Prepared],
  folder: pathlib.Path,
  display: terminal.Terminal,
  part: int = 0,
  parts: int = 1,
  *,
  title: str = '',
  **options,
) -> list[dict]:
  """`run.run` with its progress on a display, as one part of several."""
  value = protocols.of(config).value
  with display.training(title or config.name, value, part, parts) as watch:
    return run.run(config, data, folder, watch=watch, **options)


# --- Reports ----------------------------------------------------------------


def swept(config: specs.Spec) -> list[tuple[str, ...]]:
  """The paths of swept values in a record, such as ('hyper', 'beta')."""
  listed = {name for member in config.sweep.members for name in member}
  hyper = [
    name for name in config.hyper if config.sweep.hyper.get(name) or name in listed
  ]
  model = [name for name, values in config.sweep.model.items() if values]
  return [('hyper', name) for name in hyper] + [
    ('config', 'model', name) for name in model
  ]


def label(config: specs.Spec, record: dict) -> str:
  """The method's name and the swept values of a record."""
  values = [
    f'{path[-1]}={plots.text_of(_value(record, path))}' for path in swept(config)
  ]
  return ' '.join([config.name, *values])


def _value(record, path):
  for name in path:
    record = record[name]
  return tuple(record) if isinstance(record, list) else record


def report(
  config: specs.Spec,
  records: Sequence[dict],
  workdir: pathlib.Path,
  display: terminal.Terminal,
) -> None:
  """Prints the table of a sweep; writes it and its plot beside the records.

  Args:
    config: of the sweep.
    records: of all its members and seeds, and of the methods beside it.
    workdir: in which the sweep has its folder.
    display: prints the table.
  """
  folder = store.folder_of(config, workdir, 'sweep')
  files.write(folder / 'records.jsonl', ''.join(map(files.line, records)))
  own = [record for record in records if record['name'] == config.name]
  named = [
    record | {'name': label(config, record)} if record in own else record
    for record in records
  ]
  failed = sorted({r['name'] for r in named if records_lib.loss(r) == math.inf})
  for name in failed:
    display.say(f'{name} has diverged')
  finished = [record for record in named if record['name'] not in failed]
  if not finished:
    return
  (rows,) = tables.over_seeds(finished)
  display.say(terminal.OVER_SEEDS)
  display.table(rows)
  files.write(folder / 'table.md', render.markdown(rows) + '\n')
  if paths := swept(config):
    _plot(own, paths, folder, display.say)
  display.say(f'records, table and plot are in {folder}')


def _plot(records, paths, folder, say):
  """Draws one or two swept values."""
  if len(paths) > 2:
    say('no plot: it shows one or two swept values')
    return
  by_place = {}
  for record in records:
    place = tuple(_value(record, path) for path in paths)
    by_place.setdefault(place, []).append(record)
  names = [path[-1] for path in paths]
  plots.save(lambda: plots.of_sweep(by_place, names), folder, say)
