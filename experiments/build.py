"""A config -> the model and the hyper-parameters it stands for."""

import collections.abc
import importlib
import inspect
import itertools
import math
import pkgutil
from typing import Any, NamedTuple

import jax.numpy as jnp

from xdomain import base, models, wording


class ConfigError(ValueError):
  """A config that cannot be run; the message names the field."""


class Method(NamedTuple):
  model: base.Model
  hyper: Any  # leaves [], or [W] for a sweep
  members: list[dict[str, float]]  # the same as Python numbers; of several
  # seeds, all of the first, then all of the next


def method(config, sizes: base.Sizes) -> Method:
  """The model and the hyper-parameters of a config.

  Raises:
    ConfigError: a method, setting, variant or hyper-parameter is not known.
  """
  module = check(config)
  try:
    model = module.model(sizes, **config.model.to_dict())
  except ValueError as error:
    raise ConfigError(f'config.model: {error}') from None
  if model.stages[-1].predict is None:
    raise ConfigError(
      f'the last stage of {config.method} has no predict: nothing would choose'
      ' its epoch'
    )
  every = members(config) * max(1, len(config.sweep.seed))
  if not is_sweep(config):
    hyper = module.Hyper(*map(jnp.float32, module.Hyper(**every[0])))
  else:
    columns = zip(*(module.Hyper(**member) for member in every))
    hyper = module.Hyper(*(jnp.asarray(c, jnp.float32) for c in columns))
  return Method(model, hyper, every)


def check(config):
  """The module of a config's method; `ConfigError` where a field is wrong."""
  if 'method' not in config:
    raise ConfigError(
      'this is the config of a table; python -m experiments.table makes it'
    )
  module = module_of(config.method)
  _check_names('hyper', config.hyper, module.Hyper._fields, config.method)
  settings = list(inspect.signature(module.model).parameters)[1:]
  _check_names('model', config.model, settings, config.method)
  _check_numbers(config)
  return module


def is_sweep(config) -> bool:
  """Whether there are members; one value is a sweep of one."""
  sweep = config.sweep
  return bool(sweep.members or sweep.seed) or any(sweep.hyper.values())


def members(config) -> list[dict[str, float]]:
  """All hyper-parameters of each member that a seed has, or of a run."""
  listed = [dict(member) for member in config.sweep.members]
  return [
    config.hyper.to_dict() | swept | member
    for member in listed or [{}]
    for swept in product(config.sweep.hyper)
  ]


def by_seed(config) -> list:
  """A config for each seed of a sweep, or the config itself."""
  return [
    replaced(config, seed=seed, sweep=dict(seed=()))
    for seed in config.sweep.seed or (config.seed,)
  ]


def replaced(config, **fields):
  """A copy of a config with other values; dicts are merged."""
  copy = config.copy_and_resolve_references()
  try:
    with copy.unlocked():
      copy.update(fields)
  except TypeError as error:  # It names the field and both types.
    raise ConfigError(str(error)) from None
  return copy


def product(sweep) -> list[dict]:
  """Combinations of the values by name, of names that have any."""
  given = {name: values for name, values in sweep.items() if values}
  return [dict(zip(given, values)) for values in itertools.product(*given.values())]


def _check_numbers(config):
  """Refuses what would fail, or train nonsense, far from here."""
  for name in ('epochs', 'patience', 'every'):
    _check(name, config[name], config[name] >= 1, 'at least 1')
  width = config.get('width', 0)  # Not in the config of a run's folder.
  _check('width', width, width >= 0, 'at least 0')
  seeds = config.sweep.seed
  for seed in seeds:
    _check('sweep.seed', seed, isinstance(seed, int), 'of whole numbers')
  _check('sweep.seed', seeds, len(set(seeds)) == len(seeds), 'of different numbers')
  if config.every > min(config.patience, config.epochs):
    raise ConfigError(
      f'config.every is {config.every}; validate at least once within'
      f' config.patience ({config.patience}) and config.epochs'
      f' ({config.epochs})'
    )
  for name, value in config.model.items():
    several = value if isinstance(value, tuple) else (value,)
    alike = len({type(each) for each in several}) == 1
    _check(f'model.{name}', value, alike or not several, 'of one type')
    for each in several:
      if isinstance(each, int) and not isinstance(each, bool):
        _check(f'model.{name}', value, each >= 1, 'at least 1')
  listed = config.sweep.members
  for member in listed:
    named = isinstance(member, collections.abc.Mapping)
    _check('sweep.members', listed, named, 'dicts of hyper-parameters')
    _check_names('sweep.members', member, config.hyper, config.method)
  for field in ('hyper', 'model'):
    for name, values in config.sweep[field].items():
      once = len(set(values)) == len(values)
      _check(f'sweep.{field}.{name}', values, once, 'of different values')
  for name, value in config.hyper.items():
    swept = [member[name] for member in listed if name in member]
    for each in (value, *config.sweep.hyper.get(name, ()), *swept):
      fine = isinstance(each, int | float) and math.isfinite(each)
      _check(f'hyper.{name}', each, fine, 'a finite number')
      _check(f'hyper.{name}', each, each >= 0, 'not negative')
      _check(f'hyper.{name}', each, name != 'lr' or each > 0, 'above 0')
  fine = config.name and '/' not in config.name
  _check('name', config.name, fine, "a name without '/'")


def _check(field, value, fine, what):
  if not fine:
    raise ConfigError(f'config.{field} is {value!r}; it must be {what}')


def module_of(name: str):
  """The file in `xdomain/models/`; `ConfigError` where there is none."""
  names = [module.name for module in pkgutil.iter_modules(models.__path__)]
  if name not in names:
    raise ConfigError(f'config.method is {name!r}{wording.instead(name, names)}')
  return importlib.import_module(f'xdomain.models.{name}')


def _check_names(field, given, known, method):
  for name in given:
    if name not in known:
      raise ConfigError(
        f'config.{field}.{name} is no setting of {method}{wording.instead(name, known)}'
      )
