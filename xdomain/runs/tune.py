"""The choice of hyper-parameters and settings, on validation data alone."""

import dataclasses
import itertools
import json
import math
import pathlib
import random
from typing import Any

import numpy as np

import xdomain
from xdomain import files
from xdomain.data import sources
from xdomain.reporting import records as records_lib
from xdomain.reporting import render, terminal
from xdomain.runs import prepare, store, sweeps
from xdomain.runs import spec as specs

# Fields of a search that is kept, and their types.
FIELDS = {
  'config': dict,
  'trials': list,
  'points': int,
  'version': str,
  'hashes': dict,
  'epochs': int,
  'patience': int,
  'seconds': (int, float),
}


def trials(config: specs.Spec) -> list[dict[str, dict]]:
  """The trials of a search: `{'model': settings, 'hyper': hyper-parameters}` each.

  They are the whole grid of `search`, or `search.trials` of its points, drawn
  without repetition and always the same.

  Raises:
    SpecError: the search is empty or names an unknown setting.
  """
  space = config.search
  if is_empty(config):
    raise specs.SpecError(f'search of {config.name} is empty: it has nothing to tune')
  if space.trials < 1:
    raise specs.SpecError(f'search.trials is {space.trials}; it must be at least 1')
  _check_names(config)
  grid = [
    {'model': model, 'hyper': hyper}
    for model, hyper in itertools.product(
      specs.product(space.model), specs.product(space.hyper)
    )
  ]
  if len(grid) <= space.trials:
    return grid
  drawn = random.Random(0).sample(range(len(grid)), space.trials)
  return [grid[at] for at in sorted(drawn)]


def _check_names(config):
  for field in ('hyper', 'model'):
    given, known = getattr(config.search, field), getattr(config, field)
    specs.check_names(f'search.{field}', given, known, config.method)


def is_empty(config: specs.Spec) -> bool:
  """Whether a spec has nothing to search."""
  return not (config.search.hyper or config.search.model)


def search(
  config: specs.Spec,
  prepared: prepare.Prepared,
  workdir: pathlib.Path,
  display: terminal.Terminal,
) -> dict[str, Any]:
  """Runs the trials that are missing, and returns them best first.

  Args:
    config: of a method; trials train on the split of its seed and leave the test
      fold alone.
    prepared: its data.
    workdir: in which the search has its folder, with a folder for each trial.
    display: shows progress.

  Returns:
    `trials` with their validation values, the number of `points` of the grid, and
    the cost. The same is written to the folder of the search.

  Raises:
    SpecError: every trial diverged.
  """
  config = unchosen(config)
  folder = folder_of(config, workdir, 'search')
  parts = _parts(config, prepared, folder)
  runs = [
    sweeps.run_shown(
      *(part, data, store.folder_of(part, folder), display, at, len(parts)),
      title=config.name,
      test=False,
    )
    for at, (part, data) in enumerate(parts)
  ]
  found = _found(config, runs)
  files.write_json(folder / 'search.json', found)
  if found['trials'][0]['valid'] is None:
    raise specs.SpecError(
      f'every trial of {config.name} diverged; give search smaller learning rates'
    )
  return found


def _parts(config, prepared, folder):
  """The trials as runs; trials that share settings are trained together."""
  parts = []
  for model, group in itertools.groupby(trials(config), lambda trial: trial['model']):
    members = tuple(trial['hyper'] for trial in group)
    of_model = specs.replaced(config, model=model, sweep=dict(members=members))
    parts += sweeps.parts(of_model, [prepared], folder)
  return parts


def _found(config, runs):
  """The trials, best first, with their provenance and cost."""
  records = [record for members in runs for record in members]
  losses = [records_lib.loss(record) for record in records]
  values = [
    trial
    | {
      'valid': None if loss == math.inf else record[records_lib.task_of(record).valid],
      'epoch': record['epoch'],
    }
    for trial, record, loss in zip(trials(config), records, losses, strict=True)
  ]
  lengths = map(len, (*config.search.hyper.values(), *config.search.model.values()))
  return {
    'trials': [values[at] for at in np.argsort(losses, kind='stable')],
    'points': math.prod(lengths),
    'seed': config.seed,
    'version': xdomain.__version__,
    'hashes': records[0]['hashes'],
    'epochs': config.epochs,
    'patience': config.patience,
    'seconds': round(sum(members[0]['seconds'] for members in runs), 1),
    'device': records[0]['device'],
    'git': records[0]['git'],
  }


def apply(config: specs.Spec, found: dict[str, Any]) -> specs.Spec:
  """The spec with the best trial of a search."""
  best = found['trials'][0]
  return specs.replaced(config, model=best['model'], hyper=best['hyper'])


def rows(found: dict[str, Any]) -> list[dict[str, str]]:
  """The trials as rows of a table, best first."""
  return [
    {
      'trial': ' '.join(
        f'{name}={value}' for name, value in (trial['model'] | trial['hyper']).items()
      ),
      'valid': 'diverged' if trial['valid'] is None else f'{trial["valid"]:.4f}',
      'epoch': str(trial['epoch']),
    }
    for trial in found['trials']
  ]


# --- What makes two searches the same ---------------------------------------


def unchosen(config: specs.Spec) -> specs.Spec:
  """The spec with the first value of every name that is searched.

  Whether a search has been made does not depend on the choice that came of it.
  """
  _check_names(config)
  hyper, model = (
    {name: values[0] for name, values in space.items() if values}
    for space in (config.search.hyper, config.search.model)
  )
  return specs.replaced(config, hyper=hyper, model=model)


def plain(config: specs.Spec) -> dict[str, Any]:
  """The values that two equal searches share, without the data's content, as JSON."""
  space = json.loads(json.dumps(dataclasses.asdict(config.search)))
  return specs.plain(unchosen(config)) | dict(search=space)


def same(recorded: dict[str, Any], wanted: dict[str, Any]) -> bool:
  """Whether two searches in `plain` form are the same."""
  one, other = ({**each, 'data': None} for each in (recorded, wanted))
  return one == other and sources.agrees(recorded['data'], wanted['data'])


def folder_of(config: specs.Spec, workdir: pathlib.Path, kind: str) -> pathlib.Path:
  """The folder of a search, or of a `kind` of result of it."""
  space = dataclasses.asdict(config.search)
  return store.folder_of(unchosen(config), workdir, kind, space=space)


# --- Searches that are kept -------------------------------------------------


def keep(folder: str | pathlib.Path, config: specs.Spec, found: dict[str, Any]) -> None:
  """Writes a search to a folder of searches, and the table of all of them."""
  folder = pathlib.Path(folder)
  files.write_json(_file(folder, config), {'config': plain(config)} | found)
  every = [_read(file) for file in folder.glob('*.json')]
  every.sort(key=lambda search: search['config']['name'])
  table = render.markdown([_summary(search) for search in every])
  files.write(folder / 'table.md', table + '\n')


def kept(
  folder: str | pathlib.Path, config: specs.Spec, hashes: dict[str, str]
) -> dict[str, Any] | None:
  """The same search on the same data, if the folder holds it.

  Raises:
    SpecError: the folder holds another search of this name.
    DamagedFile: the file is no search.
  """
  file = _file(pathlib.Path(folder), config)
  if not file.exists():
    return None
  found = _read(file)
  if not same(found['config'], plain(config)) or found['hashes'] != hashes:
    raise specs.SpecError(
      f'{file} holds another search (other data, space or settings); keep'
      ' this one in another folder, or delete the file'
    )
  return found if specs.comparable(found['version']) else None


def _file(folder, config):
  return folder / f'{config.name}.json'


def _read(file):
  found = files.read_json(file)
  fault = fault_of(found)
  if fault:
    raise files.DamagedFile(
      f'{file} is not a search: {fault}; delete it, or keep searches in another folder'
    )
  return found


def fault_of(found: object) -> str:
  """The fault of a search that was read, in a few words; empty for a whole one."""
  if not isinstance(found, dict):
    return f'it is a {type(found).__name__}, not an object'
  for name, kind in FIELDS.items():
    if not isinstance(found.get(name), kind):
      return f'{name!r} is {f"{found[name]!r:.60}" if name in found else "missing"}'
  if not isinstance(found['config'].get('name'), str):
    return "'name' of 'config' is missing"
  for trial in found['trials'] or [{}]:
    if not isinstance(trial, dict):
      return "'trials' does not hold objects"
    for name, kind in (('model', dict), ('hyper', dict), ('epoch', int)):
      if not isinstance(trial.get(name), kind):
        return f'a trial has no {name!r}'
    if not isinstance(trial.get('valid', ''), int | float | None):
      return "a trial has no 'valid'"
  return ''


def _summary(found):
  """A row of the table of searches."""
  best, *_ = rows(found)
  return {
    'method': found['config']['name'],
    'trials': str(len(found['trials'])),
    'points': str(found['points']),
    'epochs': str(found['epochs']),
    'patience': str(found['patience']),
    'seconds': f'{found["seconds"]:.0f}',
    'chosen': best['trial'],
    'valid': best['valid'],
    'at epoch': best['epoch'],
  }
