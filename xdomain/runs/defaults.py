"""The settings a method has unless others are given.

The configs that are installed beside this package hold settings that were chosen on
MovieLens-1M; a method without a config has the defaults of its `Hyper` and `model`.
"""

import dataclasses
import importlib
import inspect
import pathlib

import xdomain
from xdomain.runs import methods
from xdomain.runs import spec as specs

CONFIGS = pathlib.Path(xdomain.__file__).parents[1] / 'configs'


def spec_of(name: str) -> specs.Spec:
  """The default spec of a method, or of a variant that a config knows.

  Args:
    name: a module of `xdomain.models` such as 'ials', or a config with its argument
      such as 'darec_user', 'ials_cold' or 'shared_vae_single'.

  Raises:
    SpecError: there is no such method.
  """
  words = name.split('_')
  for count in range(len(words), 0, -1):
    module = '_'.join(words[:count])
    found = _from_config(module, '_'.join(words[count:]))
    if found is not None and (count < len(words) or found.method == name):
      return dataclasses.replace(found, name=name)
  return of_method(name)


def of_method(name: str) -> specs.Spec:
  """The defaults of a method's `Hyper` and `model`."""
  settings = {
    setting: value
    for setting, value in methods.settings(name).items()
    if value is not inspect.Parameter.empty
  }
  hyper = methods.module(name).Hyper()._asdict()
  fields = dict(name=name, method=name, model=settings, hyper=hyper, data={}, split={})
  return specs.from_config(fields)


def _from_config(module, argument):
  """The spec of an installed config, or None."""
  path = CONFIGS / f'{module}.py'
  if not path.exists() or module in ('common', '__init__'):
    return None
  config = importlib.import_module(f'configs.{module}')
  if pathlib.Path(str(config.__file__)).resolve() != path.resolve():
    return None  # Another package of that name comes first.
  try:
    found = config.get_config(argument or None)
  except ValueError:
    return None  # The config has no such variant.
  return specs.from_config(found) if 'method' in found else None
