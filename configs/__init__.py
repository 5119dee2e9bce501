"""Configs: settings of methods, tables and figures, found by name."""

import importlib.util
import pathlib
import traceback

import ml_collections

from xdomain import wording

FOLDER = pathlib.Path(__file__).parent


def files() -> list[pathlib.Path]:
  """Returns the paths of all configs."""
  return [path for path in sorted(FOLDER.glob('[a-z]*.py')) if path.stem != 'common']


def find(text: str) -> str:
  """Returns `path.py:argument` of a config in the working directory or installed.

  `darec:item`, `darec.py:item` and `configs/darec.py:item` name the same config. What
  names none is returned as it is.
  """
  name, colon, argument = text.partition(':')
  path = pathlib.Path(name).expanduser()
  inner = pathlib.Path(*path.parts[1:]) if path.parts[:1] == ('configs',) else path
  tried = (path, pathlib.Path('configs') / inner, FOLDER / inner)
  for each in tried:
    for file in (each, each.with_name(f'{each.name}.py')) if each.name else ():
      if file.is_file():
        return f'{file}{colon}{argument}'
  return text


def load(text: str) -> ml_collections.ConfigDict:
  """Returns the config that `path.py:argument` names, before any override.

  Raises:
    ValueError: no such file, an argument that it does not know, or an error in it.
  """
  path, _, argument = find(text).partition(':')
  path = pathlib.Path(path)
  if path.is_dir():
    raise ValueError(f'{path} is a folder; name a config in it')
  if not path.is_file():
    known = map(str, sorted(path.parent.glob('*.py')))
    known = [name for name in known if not name.endswith('__init__.py')]
    raise ValueError(f'{path} does not exist{wording.instead(str(path), known)}')
  if path.suffix != '.py':
    raise ValueError(f'{path} is no config: a config is a Python file')
  spec = importlib.util.spec_from_file_location('config', path)
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
  except Exception as error:
    raise ValueError(_fault(path, error)) from error
  if not hasattr(module, 'get_config'):
    raise ValueError(f'{path} is no config: it has no function get_config')
  try:
    config = module.get_config(*([argument] if argument else []))
  except ValueError:  # Of an argument, in words of its own.
    raise
  except Exception as error:
    raise ValueError(_fault(path, error)) from error
  if not isinstance(config, ml_collections.ConfigDict):
    kind = type(config).__name__
    raise ValueError(f'{path}: get_config returns {kind}; it must return a ConfigDict')
  return config


def _fault(path, error):
  """An error in a config, with the line that it points to if it has one."""
  line = getattr(error, 'lineno', None)
  for frame in traceback.extract_tb(error.__traceback__):
    if pathlib.Path(frame.filename) == path:
      line = frame.lineno
  place = f'{path}, line {line}' if line else str(path)
  return f'{place}: {type(error).__name__}: {getattr(error, "msg", error)}'


def check_field(config: ml_collections.ConfigDict, name: str) -> None:
  """Raises a ValueError with the nearest word unless a config has a dotted field."""
  at = config
  *path, last = name.split('.')
  for depth, part in enumerate([*path, last]):
    before = '.'.join(['config', *path[:depth]])
    if not isinstance(at, ml_collections.ConfigDict):
      raise ValueError(f'{before} is a value and has no field {part!r}')
    if part not in at:
      raise ValueError(f'{before} has no field {part!r}{wording.instead(part, at)}')
    at = at[part]
