"""A config with a sweep -> the runs it stands for, and what came of them.

Settings are trained one after another, since they change the program; seeds and
hyper-parameters at once, as many as fit.
"""

import json

import jax
import numpy as np

from experiments import show
from xdomain import files
from xdomain.reporting import figures, report
from xdomain.runs import methods, prepare, protocols, store
from xdomain.runs import spec as specs
from xdomain.training import loop, placement


def turns(config, prepared_for, folder=None):
  """`(config, data)` of as many seeds as fit with all their members, in turn.

  Args:
    config: of a sweep, or of one run.
    prepared_for: a config of one seed -> its data.
    folder: where it is kept how many fitted, for when a killed run goes on.

  Yields:
    The config with the seeds of a turn, and a list of their data. Splits that
    differ in size have turns of their own.
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
  """How many seeds fit with the members of any setting, at least 1."""
  if len(config.sweep.seed) < 2:
    return 1
  of_settings = [
    (len(specs.members(each)), _width(each, prepared, folder))
    for each in _by_setting(config)
  ]
  fitting = [
    count
    for count in range(2, len(config.sweep.seed) + 1)
    if all(placement.fits(count * of_one, width) for of_one, width in of_settings)
  ]
  return max(fitting, default=1)


def parts(config, several, folder=None) -> list[tuple]:
  """`(config, data)` of each run: each setting, by as many members as fit.

  Args:
    config: of a turn.
    several: the data of its seeds.
    folder: as of `turns`.
  """
  if len(several) > 1 and not prepare.alike(
    [prepare.seen_by(config, each) for each in several]
  ):
    return _alone(parts, config, several, folder)
  every = []
  for of_setting in _by_setting(config):
    methods.check(of_setting)  # Also of those that are trained hours later.
    every += _chunks(of_setting, several, folder)
  return every


def _alone(parts, config, several, folder):
  """The parts of each seed."""
  alone = zip(specs.by_seed(config), several)
  return [part for one, of in alone for part in parts(one, [of], folder)]


def _by_setting(config):
  blank = dict.fromkeys(config.sweep.model, ())
  return [
    specs.replaced(config, model=setting, sweep=dict(model=blank))
    for setting in specs.product(config.sweep.model)
  ]


def _chunks(config, several, folder):
  every = specs.members(config)
  if len(every) * len(several) == 1:
    return [(config, several)]
  width = _width(config, several[0], folder)
  if placement.fits(len(every) * len(several), width):
    return [(config, several)]
  if len(several) > 1:
    return _alone(_chunks, config, several, folder)
  blank = dict.fromkeys(config.sweep.hyper, ())

  def of_members(listed):
    return specs.replaced(config, sweep=dict(hyper=blank, members=listed))

  return [
    (of_members(tuple(every[turn])), several)
    for turn in placement.chunks(len(every), width)
  ]


def _width(config, prepared, folder):
  """How many members fit in the device's memory, or did when it began."""
  if config.width:
    return config.width
  apart = len(config.sweep.seed) > 1
  of_any = specs.replaced(config, seed=0, sweep=dict(seed=(0, 1) if apart else ()))
  file = folder and store.folder_of(of_any, folder, 'width') / 'members.json'
  if file and file.exists():
    return json.loads(file.read_text('utf-8'))
  prepared = prepare.seen_by(config, prepared)
  method = methods.of(config, prepared.sizes)
  width = loop.width(
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


def swept(config) -> list[tuple[str, ...]]:
  """Where the swept values stand in a record, such as ('hyper', 'beta')."""
  listed = {name for member in config.sweep.members for name in member}
  hyper = [
    name for name in config.hyper if config.sweep.hyper.get(name) or name in listed
  ]
  model = [name for name, values in config.sweep.model.items() if values]
  return [('hyper', name) for name in hyper] + [
    ('config', 'model', name) for name in model
  ]


def label(config, record) -> str:
  """The method's name and the values of a sweep that are the record's."""
  words = [config.name]
  for path in swept(config):
    words.append(f'{path[-1]}={_text(_at(record, path))}')
  return ' '.join(words)


def _at(record, path):
  for name in path:
    record = record[name]
  return tuple(record) if isinstance(record, list) else record


def _text(value):
  return f'{value:g}' if isinstance(value, int | float) else str(value)


def report_on(config, records, workdir, display) -> None:
  """Prints a sweep's table; writes it and its plots beside its records.

  Args:
    config: of the sweep.
    records: of all its members and seeds, and of what is shown beside it.
    workdir: the folder of its folder.
    display: where it is shown.
  """
  folder = store.folder_of(config, workdir, 'sweep')
  files.write(folder / 'records.jsonl', ''.join(map(files.line, records)))
  own = [record for record in records if record['name'] == config.name]
  named = [
    record | {'name': label(config, record)} if record in own else record
    for record in records
  ]
  failed = sorted({r['name'] for r in named if report.loss(r) == np.inf})
  rows = report.over_seeds([r for r in named if r['name'] not in failed])
  for name in failed:
    display.say(f'{name} has diverged')
  if not rows:
    return
  display.say(show.OVER_SEEDS)
  display.table(rows)
  files.write(folder / 'table.md', report.markdown(rows) + '\n')
  figure = _figure(config, own)
  if figure is not None:
    figures.save(figure, folder / 'plot')
  elif swept(config):
    display.say('no plot: it takes one or two things that are swept')
  display.say(f'records and what was made of them are in {folder}')


def _figure(config, records):
  """A curve, bars or a heat map of what is swept; None of three or more."""
  paths = swept(config)
  if len(paths) not in (1, 2):
    return None
  cells = {}
  for record in records:
    place = tuple(_at(record, path) for path in paths)
    cells.setdefault(place, []).append(record)
  measures = {place: report.plotted(group) for place, group in cells.items()}
  names = [path[-1] for path in paths]
  return (_lines if len(paths) == 1 else _heat_map)(*names, measures)


def _lines(x_label, measures):
  """Measures against one swept value: curves of numbers, bars of the rest."""
  lines = {}
  for (x,), values in measures.items():
    for name, value in values.items():
      lines.setdefault(name, []).append(figures.Point(x, *value))
  y_label = ', '.join(lines) if len(lines) < 3 else ''  # The legend has them.
  if all(isinstance(x, int | float) for (x,) in measures):
    return figures.curves(lines, x_label=x_label, y_label=y_label)
  groups = {
    name: {_text(point.x): point for point in points} for name, points in lines.items()
  }
  return figures.bars(groups, y_label=x_label)


def _heat_map(x_label, y_label, measures):
  """What validation says over two swept values, by which one chooses."""
  x_values, y_values = (list(dict.fromkeys(axis)) for axis in zip(*measures))
  (*_, name) = next(iter(measures.values()))
  means = np.full((len(y_values), len(x_values)), np.nan)
  for (x, y), values in measures.items():
    means[y_values.index(y), x_values.index(x)] = values[name].mean
  return figures.heat_map(
    [_text(x) for x in x_values],
    [_text(y) for y in y_values],
    means,
    x_label=x_label,
    y_label=y_label,
    value_label=name,
    lower_is_better=name.endswith('RMSE'),
  )
