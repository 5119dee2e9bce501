"""The choice of hyper-parameters and settings, on validation data alone."""

import dataclasses
import itertools
import json
import math
import pathlib
import random

import jax
import numpy as np

import xdomain
from experiments import sweep
from xdomain import files
from xdomain.reporting import report
from xdomain.runs import protocols, run, store
from xdomain.runs import spec as specs


def trials(config) -> list[dict]:
  """What is tried: `{'model': settings, 'hyper': hyper-parameters}` each.

  The whole grid of `config.search`, or `trials` of its points drawn without
  repetition, the same whenever and wherever they are drawn.

  Raises:
    ConfigError: there is nothing to search, or a name is not known.
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
    for name in getattr(config.search, field):
      if name not in getattr(config, field):
        raise specs.SpecError(f'search.{field}.{name} is no setting of {config.method}')


def is_empty(config) -> bool:
  """Whether a config has nothing to search."""
  return not (len(config.search.hyper) or len(config.search.model))


def search(config, prepared, workdir, display) -> dict:
  """Runs the trials that are missing; the choice, and all that it rests on.

  Args:
    config: of a method; its seed says on which split.
    prepared: its data.
    workdir: where the search's folder is, in which each trial's is.
    display: where it is shown.

  Returns:
    `trials` with the value that validation gave each, best first, of how many
    `points`, and what was spent. It stands in the search's folder as well.

  Raises:
    ConfigError: every trial diverged.
  """
  config = unchosen(config)
  folder = folder_of(config, workdir, 'search')
  parts = _parts(config, prepared, folder)
  runs = []
  for part, (each, data) in enumerate(parts):
    value = protocols.of(config).value
    with display.training(config.name, value, part, len(parts)) as watch:
      inside = store.folder_of(each, folder)
      runs.append(run.run(each, data, inside, watch=watch, test=False))
  jax.clear_caches()  # A process can hold only so many compiled programs.
  found = _found(config, runs)
  files.write_json(folder / 'search.json', found)
  if found['trials'][0]['valid'] is None:
    raise specs.SpecError(
      f'every trial of {config.name} diverged; give config.search smaller'
      ' learning rates'
    )
  return found


def unchosen(config):
  """The config without its choice: the first of all that is searched instead.

  What a search is, and whether it has been made, does not depend on its choice.
  """
  _check_names(config)
  first = {
    'hyper': _firsts(config.search.hyper),
    'model': _firsts(config.search.model),
  }
  return specs.replaced(config, **first)


def _firsts(space):
  return {name: values[0] for name, values in space.items() if values}


def plain(config) -> dict:
  """What decides a search, but for the data's content, as JSON values."""
  space = json.loads(json.dumps(dataclasses.asdict(config.search)))
  return specs.plain(unchosen(config)) | dict(search=space)


def keep(folder, config, found) -> None:
  """Writes a search to a folder of them, and the table of all of them."""
  folder = pathlib.Path(folder)
  files.write_json(_file(folder, config), {'config': plain(config)} | found)
  every = map(_read, folder.glob('*.json'))
  every = [each for each in every if 'trials' in each]
  every.sort(key=lambda each: each['config']['name'])
  table = report.markdown([_summary(each) for each in every])
  files.write(folder / 'table.md', table + '\n')


def kept(folder, config, hashes) -> dict | None:
  """What was found by the same search before, with this version.

  Raises:
    ConfigError: another search stands there, which this one would replace, or
      what is no search.
  """
  file = _file(pathlib.Path(folder), config)
  if not file.exists():
    return None
  found = _read(file)
  of = found.get('config'), found.get('hashes')
  if of != (plain(config), hashes):
    raise specs.SpecError(
      f'{file} holds another search: of other data, another space or other'
      ' settings; give --keep another folder, or delete the file'
    )
  return found if specs.comparable(found['version']) else None


def _read(file):
  try:
    return json.loads(file.read_text('utf-8'))
  except json.JSONDecodeError as error:
    raise specs.SpecError(
      f'{file}, line {error.lineno}: {error.msg}; it is no search that was'
      ' kept: delete it, or give --keep another folder'
    ) from None


def _file(folder, config):
  return folder / f'{config.name}.json'


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


def apply(config, found):
  """The config with what a search has chosen."""
  best = found['trials'][0]
  return specs.replaced(config, model=best['model'], hyper=best['hyper'])


def rows(found) -> list[dict[str, str]]:
  """The trials as a table, best first."""
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


def folder_of(config, workdir, kind):
  """As of a run, but that the space decides it as well, and no choice."""
  space = dataclasses.asdict(config.search)
  return store.folder_of(unchosen(config), workdir, kind, space=space)


def _parts(config, prepared, folder):
  """The trials as runs: those that share settings are trained together."""
  parts = []
  by_model = itertools.groupby(trials(config), lambda trial: trial['model'])
  for model, group in by_model:
    members = tuple(trial['hyper'] for trial in group)
    of_model = specs.replaced(config, model=model, sweep=dict(members=members))
    parts += sweep.parts(of_model, [prepared], folder)
  return parts


def _found(config, runs):
  """The trials, best first, where they were made and what they cost."""
  records = [record for each in runs for record in each]
  losses = [report.loss(record) for record in records]
  values = [
    trial
    | {
      'valid': None if loss == np.inf else record[report.valid(record)],
      'epoch': record['epoch'],
    }
    for trial, record, loss in zip(trials(config), records, losses, strict=True)
  ]
  best_first = np.argsort(losses, kind='stable')
  return {
    'trials': [values[at] for at in best_first],
    'points': math.prod(
      map(len, (*config.search.hyper.values(), *config.search.model.values()))
    ),
    'seed': config.seed,
    'version': xdomain.__version__,
    'hashes': records[0]['hashes'],
    'epochs': config.epochs,
    'patience': config.patience,
    'seconds': round(sum(each[0]['seconds'] for each in runs), 1),
    'device': records[0]['device'],
    'git': records[0]['git'],
  }
