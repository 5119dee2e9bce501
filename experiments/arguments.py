"""Flags to values; an error becomes one line, in which arguments are flags."""

import ast
import contextlib
import pathlib
import re
import sys
from typing import Any

from absl import flags, logging

import configs

CACHE = flags.DEFINE_boolean(
  'compile_cache', True, "Keep compiled programs in the user's cache folder."
)
COORDINATOR = flags.DEFINE_string(
  'coordinator',
  None,
  "Address and port of process 0; 'cluster' asks SLURM, Kubernetes or a TPU.",
)
PROCESSES = flags.DEFINE_integer('processes', None, 'Processes of the run.')
PROCESS = flags.DEFINE_integer('process', None, 'The number of this process, from 0.')
load = configs.load


def parse_plain(argv):
  """Parses the command line of a command whose `--config` is no config flag."""
  return _parse(argv, False)


def parse(argv):
  """Parses the command line, or ends the program with one line and status 2."""
  return _parse([_resolved(word) for word in argv], 'config' in flags.FLAGS)


def _parse(argv, has_config):
  try:
    if has_config:
      check_config(argv)
    rest = flags.FLAGS(argv)
    if len(rest) > 1:
      raise ValueError(
        f'unexpected word {rest[1]!r}; flags begin with --, as in'
        ' --config.seed=3, and lists have commas without spaces'
      )
    return rest
  except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)


def _resolved(word):
  """A word of the command line, with the path of the config that it names."""
  flag, equals, text = word.partition('=')
  if equals and flag.lstrip('-') == 'config':
    return f'{flag}={configs.find(text)}'
  return word


def check_config(argv):
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
  elif not any(word.startswith(('--help', '--list')) for word in argv):
    raise ValueError('which config? For example --config=configs/darec.py:item')


@contextlib.contextmanager
def program():
  """The context of every command: an error that a user can mend ends it in one line."""
  # Imported here, so that --help and a wrong flag end at once.
  from xdomain.runs import stop

  logging.set_verbosity(logging.WARNING)  # jax logs every missing backend.
  sys.excepthook = _hook
  try:
    from xdomain.runs import hosts, session

    parsed = flags.FLAGS.is_parsed()
    among = hosts.ALONE
    if parsed:
      among = hosts.Among(COORDINATOR.value, PROCESSES.value, PROCESS.value)
    with session.opened(not parsed or CACHE.value, among):
      yield
  except (stop.Stopped, KeyboardInterrupt):
    print(stop.SAYS, file=sys.stderr)
    _leave(stop.STATUS)
  except Exception as error:
    from xdomain.runs import session

    advice = session.advice(error)
    if advice is None:
      raise
    print(f'error: {as_flags(advice)}', file=sys.stderr)
    _leave(1)


def _leave(status):
  from xdomain.runs import hosts

  hosts.leave(status)


def _hook(kind, error, trace):
  """Prints an uncaught error, but none of a write of orbax that has failed before.

  Its threads raise them after the error of the checkpoint itself.
  """
  if str(error) != 'Event loop is closed':
    sys.__excepthook__(kind, error, trace)


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
  """The values of words such as `rating=stars` or `scale=(1, 10)`, by name."""
  values = {}
  for word in words:
    name, _, text = word.partition('=')
    try:
      values[name] = ast.literal_eval(text)
    except (SyntaxError, ValueError):
      values[name] = text
  return values


# Fields of a config as messages of the library name them.
_GROUP = re.compile(r'(?<![\w./-])(hyper|model|data|split|sweep|search)\.(?=[a-z])')
_FIELD = 'method|protocol|view|reviews|epochs|patience|every|seed|width|mesh|name'
_TABLE = 'rows|columns|measures|seeds'
_BEGINS = re.compile(rf'^(({_FIELD}|{_TABLE}|model|split) ?)(?=is |names |:)')
_VALUE = re.compile(rf'(?<![\w./-])({_FIELD})=')


def as_flags(text: str) -> str:
  """The message of a library error, with arguments as the flags of a command."""
  from xdomain.data import sources

  text = _BEGINS.sub(r'config.\1', _GROUP.sub(r'config.\1.', text))
  text = _VALUE.sub(r'--config.\1=', text)
  names = '|'.join(sources.options())
  text = re.sub(rf'(?<![\w.-])({names})=(?=\S)', r'--config.data.\1=', text)
  # A shell needs quotes around a tuple.
  return re.sub(r'(--config\.data\.\w+=)(\([^()]*\))', r"\1'\2'", text)
