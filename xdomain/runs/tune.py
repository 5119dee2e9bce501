"""The choice of hyper-parameters and settings, on validation data alone.

Trials are drawn by Optuna's samplers, in batches whose trials share the settings that
fix shapes, so that they train together. First come the config's own values, and points
that it lists.
All trials of a batch run for a quarter of the epochs, and the best quarter of them for
all epochs (successive halving, Jamieson and Talwalkar 2016); so do the points that come
first, since a method that learns slowly is behind at a quarter. A search ends after a
number of trials or of minutes, whichever comes first. Its study is an SQLite file, from
which an interrupted search resumes.
"""

import collections
import contextlib
import dataclasses
import json
import math
import pathlib
import shutil
import time
from collections.abc import Collection, Sequence
from typing import Any

import xdomain
from xdomain import files
from xdomain.data import sources
from xdomain.reporting import records as records_lib
from xdomain.reporting import render, terminal
from xdomain.runs import prepare, protocols, store, sweeps
from xdomain.runs import spec as specs

# Fields of a search that is kept, and their types.
FIELDS = {
  'config': dict,
  'trials': list,
  'version': str,
  'hashes': dict,
  'epochs': int,
  'patience': int,
  'seconds': (int, float),
}
STUDY = 'study.db'  # Optuna's file in the folder of a search.
BATCH = 8  # Trials that are drawn at once.
SHARE = 4  # One of so many trials runs for so many times the epochs.
CORES = 2  # The minutes of a search are those of so many cores.
EDGE = 0.05  # The part of a range that counts as its edge.
WIDER = 10  # The factor by which a range grows beyond an edge.


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
    workdir: in which the search has its folder, with its study.
    display: shows progress.

  Returns:
    `trials` with their validation values, whether 'trials' or 'minutes' `ended` it,
    the names whose choice is at the `edges` of their space, and the cost. The same is
    written to the folder of the search.

  Raises:
    SpecError: the search is empty or malformed, or every trial diverged.
  """
  _check_space(config)
  first, config = first_trials(config), unchosen(config)
  folder = folder_of(config, workdir, 'search')
  with store.lock(folder, display.say), _stored(folder / STUDY):
    study = _study(folder)
    if not study.get_trials(deepcopy=False):
      study.set_user_attr('first', first)
    _end_batch(study, folder)
    while not _ended(study, config):
      started = time.process_time()
      try:
        _run_batch(study, config, prepared, folder, display)
      finally:  # The part of an interrupted batch counts too.
        spent = _spent(study) + time.process_time() - started
        study.set_user_attr('cpu_seconds', round(spent, 1))
    found = _found(study, config, prepared)
  files.write_json(folder / 'search.json', found)
  if found['trials'][0]['valid'] is None:
    raise specs.SpecError(
      f'every trial of {config.name} diverged; give search smaller learning rates'
    )
  return found


@contextlib.contextmanager
def _stored(file):
  """Replaces the errors of Optuna's database, hundreds of lines long, by one line."""
  try:
    yield
  except Exception as error:
    cause = error.__cause__ if 'optuna' in type(error).__module__ else error
    if 'sqlalchemy' not in type(cause).__module__:
      raise
    why = getattr(cause, 'orig', None) or type(cause).__name__
    raise OSError(
      f'{file} cannot be read or written: {why}; mend that, or delete the file to begin'
      ' the search again; the same command resumes it'
    ) from None


def _study(folder):
  try:
    import optuna
    import sqlalchemy.pool
  except ImportError:
    raise specs.SpecError(
      'a search needs Optuna, which is not installed; run pip install optuna'
    ) from None
  optuna.logging.set_verbosity(optuna.logging.WARNING)
  storage = optuna.storages.RDBStorage(
    f'sqlite:///{folder.resolve() / STUDY}',
    engine_kwargs={'poolclass': sqlalchemy.pool.NullPool},  # Leaves no file open.
  )
  return optuna.create_study(storage=storage, study_name='search', load_if_exists=True)


def _ended(study, config) -> str:
  """The limit that ended a search: 'trials', 'minutes', or '' while it runs."""
  trials = _told(study)
  if len(trials) >= min(config.search.trials, points(config)):
    return 'trials'
  seconds = 60 * CORES * config.search.minutes
  return 'minutes' if trials and _spent(study) >= seconds else ''


def _spent(study) -> float:
  """CPU seconds of all batches."""
  return study.user_attrs.get('cpu_seconds', 0.0)


# --- A batch of trials ------------------------------------------------------


def _run_batch(study, config, prepared, folder, display):
  """Draws a batch, or finds the one that was interrupted, and halves it."""
  trials, losses, ends = _draw(study, config), {}, {}
  given = 0 if points(config) <= config.search.trials else len(_first(study))
  for epochs in rungs(config.epochs):
    losses = _losses(trials, epochs, config, prepared, folder, display)
    finite = [trial for trial in trials if losses[trial.number] < math.inf]
    finite.sort(key=lambda trial: losses[trial.number])
    best = finite
    if epochs < config.epochs:
      count = -(-len(finite) // SHARE)
      best = finite[:count] + [t for t in finite[count:] if t.number < given]
    for trial in set(trials) - set(best):
      ends[trial.number] = ('PRUNED' if trial in finite else 'FAIL', None)
    trials = sorted(best, key=lambda trial: trial.number)
  ends |= {trial.number: ('COMPLETE', losses[trial.number]) for trial in trials}
  study.set_user_attr('ends', ends)  # Together, so that a batch ends whole.
  _end_batch(study, folder)


def _end_batch(study, folder):
  """Ends the trials of the last batch, and removes runs that no trial needs."""
  for number, (state, loss) in study.user_attrs.get('ends', {}).items():
    study.tell(int(number), loss, state=_state(state), skip_if_finished=True)
  if not study.get_trials(deepcopy=False, states=(_state('RUNNING'),)):
    for path in folder.iterdir():  # The study holds what a search needs of runs.
      if path.is_dir():
        shutil.rmtree(path)


def rungs(epochs: int) -> list[int]:
  """The epochs of all trials of a batch, and those of its best."""
  return sorted({-(-epochs // SHARE), epochs})


def _draw(study, config):
  """A batch of trials; those that follow the first share its shapes.

  They depend on the trials that have ended alone: a search that was interrupted while
  it drew them draws the rest.
  """
  import optuna

  states = [_state('RUNNING')]
  drawn = _drawn(study, config)
  for trial in drawn[len(study.get_trials(deepcopy=False, states=states)) :]:
    study.add_trial(trial)
  return [
    optuna.trial.Trial(study, trial._trial_id)
    for trial in study.get_trials(deepcopy=False, states=states)
  ]


def _drawn(study, config):
  """The trials of a batch, by a copy of the study in memory."""
  import optuna

  space, count, told = _distributions(study, config), points(config), _told(study)
  size = min(BATCH, min(config.search.trials, count) - len(told))
  if count <= config.search.trials:  # All of them are tried.
    every = specs.product(_choices(space))[len(told) :][: int(size)]
  else:
    sampler = optuna.samplers.TPESampler(seed=len(told), constant_liar=True)
    copy = optuna.create_study(sampler=sampler)
    copy.add_trials(told)
    first, every = _first(study)[len(told) :], []
    while len(every) < size:
      if len(every) < len(first):
        copy.enqueue_trial(first[len(every)])
      elif every:
        shapes = {n: v for n, v in every[0].items() if n.startswith('model.')}
        copy.enqueue_trial(shapes)
      every.append(copy.ask(space).params)
  return [
    optuna.trial.create_trial(
      state=_state('RUNNING'), params=params, distributions=space
    )
    for params in every
  ]


def _first(study) -> list[dict[str, Any]]:
  return study.user_attrs.get('first', [])


def first_trials(config: specs.Spec) -> list[dict[str, Any]]:
  """The config's own values, then each of `search.first` in place of some of them.

  Values that the space does not hold are drawn. These points run for all epochs and so
  keep a search from a choice that validates worse than they do.
  """
  trials = []
  for hyper in ({}, *config.search.first):
    own = specs.replaced(config, hyper=hyper)
    trials.append({})
    for path, values in _space(config).items():
      field, name = path.split('.')
      value = getattr(own, field)[name]
      if values[1] <= value <= values[2] if is_range(values) else value in values:
        trials[-1][path] = _choice(value)
  return trials


def _choices(space):
  return {name: each.choices for name, each in space.items()}


def _losses(trials, epochs, config, prepared, folder, display) -> dict[int, float]:
  """The loss of each trial by its number; infinite where it diverged."""
  groups = {}
  for trial in trials:
    groups.setdefault(json.dumps(settings(trial.params)['model']), []).append(trial)
  losses = {}
  for group in groups.values():
    of_group = [settings(trial.params) for trial in group]
    spec = specs.replaced(
      config,
      model=of_group[0]['model'],
      sweep=dict(members=tuple(each['hyper'] for each in of_group)),
      epochs=epochs,
    )
    records = []
    for part, data in sweeps.parts(specs.fitting_patience(spec), [prepared], folder):
      title = f'{config.name} trials {trials[0].number} to {trials[-1].number}'
      into = store.folder_of(part, folder)
      records += sweeps.run_shown(part, data, into, display, title=title, test=False)
    for trial, record in zip(group, records, strict=True):
      losses[trial.number] = loss = records_lib.choice(record)
      if loss < math.inf:
        _report(trial, loss, epochs, record['epoch'])
  return losses


def _report(trial, loss, epochs, best_epoch):
  frozen = trial.study.trials[trial.number]
  if epochs not in frozen.intermediate_values:  # An interrupted batch may have it.
    trial.report(loss, epochs)
  trial.set_user_attr('epoch', best_epoch)


def settings(params: dict[str, Any]) -> dict[str, dict[str, Any]]:
  """`{'model': settings, 'hyper': hyper-parameters}` of a trial's parameters."""
  parts = {'model': {}, 'hyper': {}}
  for name, value in params.items():
    field, name = name.split('.')
    parts[field][name] = tuple(json.loads(value)) if _is_listed(value) else value
  return parts


# --- The space --------------------------------------------------------------


def is_empty(config: specs.Spec) -> bool:
  """Whether a spec has nothing to search."""
  return not _space(config)


def points(config: specs.Spec) -> float:
  """The number of points of a space; infinite where it holds a range."""
  spaces = _space(config).values()
  return math.inf if any(map(is_range, spaces)) else math.prod(map(len, spaces))


def is_range(values: Sequence[Any]) -> bool:
  """Whether a space is `('log', low, high)` or `('linear', low, high)`."""
  return values[0] in ('log', 'linear')


def _space(config) -> dict[str, tuple]:
  """The space of each name, such as 'hyper.lr', that has any values to try."""
  return {
    f'{field}.{name}': values
    for field in ('model', 'hyper')
    for name, values in getattr(config.search, field).items()
    if values
  }


def _check_space(config):
  """Raises a `SpecError` that names what is wrong with a search."""
  _check_names(config)
  if is_empty(config):
    raise specs.SpecError(f'search of {config.name} is empty: it has nothing to tune')
  if config.search.trials < 1:
    raise specs.SpecError(
      f'search.trials is {config.search.trials}; it must be at least 1'
    )
  minutes = config.search.minutes
  specs.check('search.minutes', minutes, minutes > 0, 'above 0')
  for name, values in _space(config).items():
    if is_range(values):
      kind, *ends = values
      fine = len(ends) == 2 and all(isinstance(end, int | float) for end in ends)
      fine = fine and (0 if kind == 'log' else -math.inf) < ends[0] < ends[1]
      expected = f"('{kind}', low, high)" + ' with low above 0' * (kind == 'log')
      specs.check(f'search.{name}', values, fine, expected)


def _check_names(config):
  for hyper in config.search.first:
    specs.check_names('search.first', hyper, config.search.hyper, config.method)
  for field in ('hyper', 'model'):
    given, known = getattr(config.search, field), getattr(config, field)
    specs.check_names(f'search.{field}', given, known, config.method)


def _distributions(study, config) -> dict[str, Any]:
  """The distribution of each name; ranges grow where the best trial is at an edge."""
  from optuna import distributions

  space = study.user_attrs.get('space', _space(config))
  if complete := study.get_trials(states=(_state('COMPLETE'),)):
    best = min(complete, key=lambda trial: trial.value).params
    space = {name: widened(values, best[name]) for name, values in space.items()}
  study.set_user_attr('space', space)
  return {
    name: distributions.FloatDistribution(*values[1:], log=values[0] == 'log')
    if is_range(values)
    else distributions.CategoricalDistribution([_choice(value) for value in values])
    for name, values in space.items()
  }


def widened(values: Sequence[Any], best: Any) -> tuple:
  """The space, with another decade where the best value is at the edge of a range."""
  kind, *ends = values
  if kind != 'log':
    return tuple(values)
  low, high = ends
  side = edge(values, best)
  return kind, low / WIDER if side < 0 else low, high * WIDER if side > 0 else high


def edge(values: Sequence[Any], best: Any) -> int:
  """-1 or 1 where a value is at the lower or the upper edge of a space, else 0."""
  if is_range(values):
    kind, *ends = values
    low, high, best = map(math.log if kind == 'log' else float, (*ends, best))
    place = (best - low) / (high - low)
    return (place > 1 - EDGE) - (place < EDGE)
  numbers = all(isinstance(value, int | float) for value in values)
  if not numbers or len(values) < 3:
    return 0
  return (best == max(values)) - (best == min(values))


def _choice(value):
  """A value as Optuna keeps it: JSON where it is a list."""
  return json.dumps(value) if isinstance(value, list | tuple) else value


def _is_listed(value):
  return isinstance(value, str) and value.startswith('[')


# --- The result -------------------------------------------------------------


def _found(study, config, prepared):
  """The trials, best first, with their provenance and cost."""
  trials = sorted(_told(study), key=_order)
  best = settings(trials[0].params)
  space = study.user_attrs['space']
  about = store.about(config, prepared.hashes)
  return {
    'trials': [
      settings(trial.params) | _outcome(trial, protocols.of(config).rates)
      for trial in trials
    ],
    'ended': _ended(study, config),
    'edges': [
      name
      for name, values in space.items()
      if edge(values, best[name.split('.')[0]][name.split('.')[1]])
    ],
    'space': space,
    'seed': config.seed,
    'version': xdomain.__version__,
    'epochs': config.epochs,
    'patience': config.patience,
    'seconds': _spent(study),
    **{name: about[name] for name in ('hashes', 'device', 'git')},
  }


def _order(trial):
  """Trials of all epochs first, then the longest; lower losses first."""
  epochs = max(trial.intermediate_values, default=0)
  whole = trial.state == _state('COMPLETE')
  loss = trial.intermediate_values.get(epochs, math.inf)
  return not whole, -epochs, loss, trial.number


def _outcome(trial, rates):
  """The validation value of a trial at its last epochs, and its best epoch."""
  failed = trial.state == _state('FAIL')
  epochs = max(trial.intermediate_values, default=0)
  loss = trial.intermediate_values.get(epochs)
  value = None if failed or loss is None else loss if rates else 1 - loss
  return {'valid': value, 'epochs': epochs, 'epoch': trial.user_attrs.get('epoch', 0)}


def _told(study):
  """The trials that have ended."""
  trials = study.get_trials(deepcopy=False)
  return [trial for trial in trials if trial.state.is_finished()]


def _state(name):
  import optuna

  return optuna.trial.TrialState[name]


def apply(config: specs.Spec, found: dict[str, Any]) -> specs.Spec:
  """The spec with the best trial of a search."""
  best = found['trials'][0]
  return specs.replaced(config, model=best['model'], hyper=best['hyper'])


def on_seed(config: specs.Spec, seed: int, seeds: Collection[int]) -> specs.Spec:
  """The spec of a seed whose search has its share of the minutes."""
  minutes = config.search.minutes / len(seeds)
  return specs.replaced(config, seed=seed, search=dict(minutes=minutes))


def summary(found: dict[str, Any]) -> str:
  """The end of a search, and the values of its choice at the edge of the space."""
  minutes = found['seconds'] / 60 / CORES
  text = (
    f'{len(found["trials"])} trials in {minutes:.1f} minutes of {CORES} cores; the'
    f' search ended by its {found["ended"]}'
  )
  edges = ', '.join(_edges(found))
  return text + f'; at the edge of the space: {edges}' * bool(edges)


def _edges(found) -> list[str]:
  """The names whose choice is at an edge; 'epochs' if the best one is near the last."""
  epochs = found['epochs']
  near = epochs > 1 and found['trials'][0]['epoch'] > (1 - EDGE) * epochs
  return [*found.get('edges', ()), *['epochs'] * near]


def rows(found: dict[str, Any]) -> list[dict[str, str]]:
  """The trials as rows of a table, best first."""
  return [
    {
      'trial': ' '.join(
        f'{name}={value:.3g}' if isinstance(value, float) else f'{name}={value}'
        for name, value in (trial['model'] | trial['hyper']).items()
      ),
      'valid': 'diverged' if trial['valid'] is None else f'{trial["valid"]:.4f}',
      'epochs': str(trial.get('epochs', '')),
      'best epoch': str(trial['epoch']),
    }
    for trial in found['trials']
  ]


def over_seeds(searches: Sequence[dict[str, Any]]) -> dict[str, str]:
  """The columns of a table about the searches of one method on several splits."""
  counts = sorted({len(search['trials']) for search in searches})
  ended = collections.Counter(search.get('ended', '') for search in searches)
  edges = collections.Counter(
    name.rpartition('.')[2] for search in searches for name in _edges(search)
  )
  minutes = sum(search['seconds'] for search in searches) / 60 / CORES

  def shown(counted):
    return ', '.join(
      f'{name} ({count} of {len(searches)})' if count < len(searches) else name
      for name, count in counted.items()
    )

  return {
    'trials': ' to '.join(map(str, dict.fromkeys((counts[0], counts[-1])))),
    'ended by': shown(ended),
    f'minutes of {CORES} cores': f'{minutes:.1f}',
    'at the edge of its space': shown(edges),
    'chosen': ', '.join(_chosen(searches)),
  }


def _chosen(searches):
  """Each searched name with the range, or the different values, of its choices."""
  best = [
    search['trials'][0]['model'] | search['trials'][0]['hyper'] for search in searches
  ]
  for name in best[0]:
    values = sorted({each[name] for each in best if name in each}, key=str)
    if all(isinstance(value, int | float) for value in values):
      values = [f'{value:.3g}' for value in dict.fromkeys((min(values), max(values)))]
    yield f'{name} {" to ".join(map(str, values))}'


# --- What makes two searches the same ---------------------------------------


def unchosen(config: specs.Spec) -> specs.Spec:
  """The spec with the first or lowest value of every name that is searched.

  Whether a search has been made does not depend on the choice that came of it.
  """
  _check_names(config)
  hyper, model = (
    {name: values[is_range(values)] for name, values in space.items() if values}
    for space in (config.search.hyper, config.search.model)
  )
  return specs.replaced(config, hyper=hyper, model=model)


def plain(config: specs.Spec) -> dict[str, Any]:
  """The values that two equal searches share, without the data's content, as JSON."""
  space = json.loads(json.dumps(dataclasses.asdict(config.search)))
  space = {name: value for name, value in space.items() if value or name != 'first'}
  return specs.plain(unchosen(config)) | dict(search=space)


def same(recorded: dict[str, Any], wanted: dict[str, Any]) -> bool:
  """Whether two searches in `plain` form are the same."""
  one, other = ({**each, 'data': None} for each in (recorded, wanted))
  return one == other and sources.agrees(recorded['data'], wanted['data'])


def folder_of(config: specs.Spec, workdir: pathlib.Path, kind: str) -> pathlib.Path:
  """The folder of a search, or of a `kind` of result of it."""
  space = plain(config)['search']
  return store.folder_of(unchosen(config), workdir, kind, space=space)


# --- Searches that are kept -------------------------------------------------


def keep(
  folder: str | pathlib.Path, config: specs.Spec, found: dict[str, Any]
) -> dict[str, Any]:
  """Writes a search to a folder, and the table of all; returns it as `kept` does."""
  folder = pathlib.Path(folder)
  found = {'config': plain(config)} | found
  files.write_json(_file(folder, config), found)
  every = [_read(file) for file in folder.glob('*.json')]
  every.sort(key=lambda search: search['config']['name'])
  table = render.markdown([_summary(search) for search in every])
  files.write(folder / 'table.md', table + '\n')
  return found


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
  return folder / f'{config.name}{f"_seed{config.seed}" * (config.seed > 0)}.json'


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
    'ended by': found.get('ended', ''),
    'at the edge': ', '.join(_edges(found)),
    'epochs': str(found['epochs']),
    'patience': str(found['patience']),
    'seconds': f'{found["seconds"]:.0f}',
    'chosen': best['trial'],
    'valid': best['valid'],
    'at epoch': best['best epoch'],
  }
