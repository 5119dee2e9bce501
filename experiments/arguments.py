"""The words of a command line to values; a wrong one ends it in one line."""

import ast
import pathlib
import re
import sys
from typing import Any

from absl import flags

import configs
from experiments import output

load = configs.load


def parse_plain(argv: list[str]) -> list[str]:
  """Parses the command line of a command whose `--config` is no config flag."""
  return _parse(argv, False)


def parse(argv: list[str]) -> list[str]:
  """Parses the command line, or ends the program with one line and status 2."""
  return _parse([_resolved(word) for word in argv], 'config' in flags.FLAGS)


def _parse(argv, has_config):
  try:
    if has_config:
      check_config(argv)
    rest = []
    with output.reader_may_stop():  # It prints --help.
      rest = flags.FLAGS(argv)
    if not rest:
      sys.exit()
    if len(rest) > 1:
      raise ValueError(
        f'unexpected word {rest[1]!r}; flags begin with --, as in'
        ' --config.seed=3, and lists have commas without spaces'
      )
    return rest
  except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
    print(f'error: {_one_line(error)}', file=sys.stderr)
    sys.exit(2)


def _one_line(error):
  """The text of an error of absl or Python; several missing flags are several lines."""
  text = '; '.join(str(error).splitlines())
  text = re.sub(
    r'invalid literal for int\(\) with base 10.*', 'not a whole number', text
  )
  text = re.sub('could not convert string to float.*', 'not a number', text)
  return text if len(text) < 400 else f'{text[:200]} ... {text[-100:]}'


def _resolved(word):
  """A word of the command line, with the path of the config that it names."""
  flag, equals, text = word.partition('=')
  if equals and flag.lstrip('-') == 'config':
    return f'{flag}={configs.find(text)}'
  return word


def check_config(argv: list[str]) -> None:
  """Raises a ValueError where `--config` or `--config.field=` is wrong."""
  given = {}
  words = iter(argv[1:])
  for word in words:
    name, equals, value = word.lstrip('-').partition('=')
    if word.startswith('-') and name.split('.')[0] == 'config':
      field = name.removeprefix('config').removeprefix('.')
      given[field] = value if equals else next(words, '')
  if '' in given:
    config = configs.load(given.pop(''))
    for name in given:
      configs.check_field(config, name)
    _check_words(given)
  elif not any(word.startswith(('--help', '--list')) for word in argv):
    raise ValueError('which config? For example --config=configs/darec.py:item')


def _check_words(given):
  """Raises a ValueError for an unknown method or kind of data, before jax is loaded."""
  if not {'method', 'data.kind'} & given.keys():
    return
  from xdomain import models
  from xdomain.data import sources
  from xdomain.runs import spec as specs

  for field, known in (('method', models.names()), ('data.kind', sources.KINDS)):
    if field in given:
      specs.check_name(f'config.{field}', given[field].strip('\'"'), known)


def ids(flag: str, words: list[str]) -> list[str]:
  """Raw ids of a flag, or of the file that it names after `@`, an id a line."""
  from xdomain.data.readers import contents
  from xdomain.runs import spec as specs

  given = words
  if len(words) == 1 and words[0].startswith('@'):
    path = pathlib.Path(words[0][1:]).expanduser()
    if not path.exists():
      raise specs.SpecError(
        f'--{flag}={words[0]}: there is no file {path}; for the id {words[0]!r} itself'
        f' give --{flag}={words[0]},'
      )
    given = contents.text(path, contents.read(path)).decode().splitlines()
  given = [each.strip() for each in given if each.strip()]
  if words and not given:
    raise specs.SpecError(f'--{flag}={",".join(words)} holds no id')
  return given


def options(words: list[str]) -> dict[str, Any]:
  """The values of words such as `rating=stars` or `scale=(1, 10)`, by name.

  Raises:
    SpecError: a word has no `=`.
  """
  from xdomain.runs import spec as specs

  values = {}
  for word in words:
    name, equals, text = word.partition('=')
    if not equals:
      raise specs.SpecError(f'{word!r} has no value; give one, as in {name}=...')
    try:
      values[name] = ast.literal_eval(text)
    except (SyntaxError, ValueError):
      values[name] = text
  return values
