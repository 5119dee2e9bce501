"""Flags to values; a mistake is answered in one line, with what would do."""

import contextlib
import importlib.util
import os
import pathlib
import re
import sys

import ml_collections
from absl import flags, logging

from xdomain import wording


def parse(argv):
  """Parses the command line, or ends the program with one line and status 2."""
  try:
    if 'config' in flags.FLAGS:
      check_config(argv)
    rest = flags.FLAGS(argv)
    if len(rest) > 1:
      raise ValueError(
        f'unexpected word {rest[1]!r}; flags begin with --, as in'
        ' --config.seed=3, and lists have commas without spaces'
      )
    return rest
  except (
    flags.Error,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
  ) as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)


@contextlib.contextmanager
def program():
  """What every command runs in.

  Ends it with one line and status 1 where a user can mend something. Compiled
  programs are kept beside the data, unless jax has been told where. Numbers
  have 32 bits, whatever JAX_ENABLE_X64 says.
  """
  # Imported here, so that --help and a wrong flag answer at once.
  import jax

  from xdomain import files
  from xdomain.data import types
  from xdomain.reporting import records
  from xdomain.runs import spec as specs
  from xdomain.training import checkpoint, loop

  logging.set_verbosity(logging.WARNING)  # jax tells of every missing backend.
  _keep_compiled()
  try:
    with jax.enable_x64(False):
      _check_device()
      yield
  except (
    specs.SpecError,
    types.DataError,
    loop.Diverged,
    checkpoint.NotSaved,
    checkpoint.WrongCheckpoint,
    files.DamagedFile,
    records.RecordError,
  ) as error:
    print(f'error: {as_flags(str(error))}', file=sys.stderr)
    sys.exit(1)
  except OSError as error:
    print(f'error: {error.strerror}: {error.filename}', file=sys.stderr)
    sys.exit(1)
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    print(
      'error: the device has too little memory; try a smaller'
      ' --config.model.batch or, of a sweep, --config.width=1, and see that no'
      ' other process holds it. The same command goes on with what was done',
      file=sys.stderr,
    )
    sys.exit(1)


# Fields of a config as messages of the library name them.
_GROUP = re.compile(r'(?<![\w./-])(hyper|model|data|split|sweep|search)\.(?=[a-z])')
_FIELD = 'method|protocol|view|reviews|epochs|patience|every|seed|width|name'
_VALUE = re.compile(rf'(?<![\w./-])(({_FIELD})=|^({_FIELD}|model|split) ?(?=is |:))')


def as_flags(text: str) -> str:
  """The message of a library error, with arguments as the flags of a command."""
  from xdomain.data import sources

  text = _VALUE.sub(r'config.\1', _GROUP.sub(r'config.\1.', text))
  names = '|'.join(sources.options())
  text = re.sub(rf'(?<![\w.-])({names})=(?=\S)', r'--config.data.\1=', text)
  # A shell needs quotes around a tuple.
  return re.sub(r'(--config\.data\.\w+=)(\([^()]*\))', r"\1'\2'", text)


def _check_device():
  """Refuses a `JAX_PLATFORMS` that this jax has no device for."""
  import jax

  from xdomain.runs import spec as specs

  try:
    jax.devices()
  except (AssertionError, RuntimeError):
    raise specs.SpecError(
      f'jax has no device for JAX_PLATFORMS={jax.config.jax_platforms}; install'
      ' the jax that fits it (https://docs.jax.dev/en/latest/installation.html),'
      ' or unset JAX_PLATFORMS'
    ) from None


def _keep_compiled():
  import jax

  from xdomain.data.readers import download

  if jax.config.jax_compilation_cache_dir is None:
    folder = download.cache_dir() / 'compiled'
    with contextlib.suppress(OSError):
      folder.mkdir(parents=True, exist_ok=True)
    if os.access(folder, os.W_OK | os.X_OK):  # Else it goes on without.
      jax.config.update('jax_compilation_cache_dir', str(folder))


def check_config(argv):
  """Raises a ValueError where `--config` or `--config.field=` is wrong."""
  given = _config_flags(argv)
  if '' not in given:
    if any(word.startswith(('--help', '--list')) for word in argv):
      return
    raise ValueError('which config? For example --config=configs/darec.py:item')
  config = load(given.pop(''))
  for name in given:
    _check_field(config, name)


def _config_flags(argv):
  """Values by field name, of all words `--config.field=value`."""
  given = {}
  words = iter(argv[1:])
  for word in words:
    name, equals, value = word.lstrip('-').partition('=')
    if word.startswith('-') and name.split('.')[0] == 'config':
      given[name.removeprefix('config').removeprefix('.')] = (
        value if equals else next(words, '')
      )
  return given


def load(text):
  """The config that `path.py:argument` names, before any override.

  Raises:
    ValueError: no such file, or an argument that it does not know.
  """
  path, _, argument = text.partition(':')
  path = pathlib.Path(path)
  if path.is_dir():
    raise ValueError(f'{path} is a folder; name a config in it')
  if not path.is_file():
    known = map(str, sorted(path.parent.glob('*.py')))
    known = [name for name in known if not name.endswith('__init__.py')]
    raise ValueError(f'{path} does not exist{wording.instead(str(path), known)}')
  spec = importlib.util.spec_from_file_location('config', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  if not hasattr(module, 'get_config'):
    raise ValueError(f'{path} is no config: it has no function get_config')
  return module.get_config(*([argument] if argument else []))


def _check_field(config, name):
  at = config
  *path, last = name.split('.')
  for depth, part in enumerate([*path, last]):
    before = '.'.join(['config', *path[:depth]])
    if not isinstance(at, ml_collections.ConfigDict):
      raise ValueError(f'{before} is a value and has no field {part!r}')
    if part not in at:
      raise ValueError(f'{before} has no field {part!r}{wording.instead(part, at)}')
    at = at[part]
