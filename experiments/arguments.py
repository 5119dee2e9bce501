"""Flags to values; a mistake is answered in one line, with what would do."""

import contextlib
import errno
import importlib.util
import os
import pathlib
import re
import sys

import ml_collections
from absl import flags, logging

from xdomain import wording

CONFIGS = pathlib.Path(__file__).parents[1] / 'configs'
CACHE = flags.DEFINE_boolean(
  'compile_cache', True, "Keep compiled programs in the user's cache folder."
)


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
  """The context that every command runs in.

  Ends it with one line and status 1 where a user can mend something. Compiled
  programs are kept beside the data, unless jax has been told where. Numbers
  have 32 bits, whatever JAX_ENABLE_X64 says.
  """
  # Imported here, so that --help and a wrong flag answer at once.
  import jax

  from xdomain import files
  from xdomain.data import types
  from xdomain.reporting import records
  from xdomain.runs import artifact, stop
  from xdomain.runs import spec as specs
  from xdomain.training import checkpoint, loop

  logging.set_verbosity(logging.WARNING)  # jax tells of every missing backend.
  _keep_compiled()
  try:
    with jax.enable_x64(False), stop.on_signals():
      _check_device()
      yield
  except (stop.Stopped, KeyboardInterrupt):
    print(stop.SAYS, file=sys.stderr)
    sys.exit(stop.STATUS)
  except (
    specs.SpecError,
    types.DataError,
    artifact.ArtifactError,
    loop.Diverged,
    checkpoint.NotSaved,
    checkpoint.WrongCheckpoint,
    files.DamagedFile,
    records.RecordError,
  ) as error:
    print(f'error: {as_flags(str(error))}', file=sys.stderr)
    sys.exit(1)
  except Exception as error:  # Of these, those that a user can mend.
    if _is_disk_full(error):
      print(f'error: {_DISK_FULL}{_file_of(error)}', file=sys.stderr)
      sys.exit(1)
    if isinstance(error, OSError):
      print(f'error: {error.strerror or error}{_file_of(error)}', file=sys.stderr)
      sys.exit(1)
    memory = isinstance(error, jax.errors.JaxRuntimeError)
    if not memory or 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    print(
      'error: the device has too little memory; try a smaller'
      ' --config.model.batch or, of a sweep, --config.width=1, and see that no'
      ' other process holds it. The same command resumes',
      file=sys.stderr,
    )
    sys.exit(1)


_DISK_FULL = (
  'the disk is full; free some space, and the same command resumes with what was saved'
)


def _is_disk_full(error):
  full = errno.ENOSPC, errno.EDQUOT, errno.EFBIG
  return getattr(error, 'errno', None) in full or 'No space left' in str(error)


def _file_of(error):
  name = getattr(error, 'filename', None)
  return f': {name}' if name else ''


def ids(flag: str, words: list[str]) -> list[str]:
  """Raw ids of a flag, or of the file that it names after `@`.

  A file in UTF-8 or UTF-16 holds an id a line.
  """
  from xdomain.runs import spec as specs

  given = words
  if len(words) == 1 and words[0].startswith('@'):
    path = pathlib.Path(words[0][1:]).expanduser()
    if not path.exists():
      raise specs.SpecError(
        f'--{flag}={words[0]}: there is no file {path}; for the id {words[0]!r} itself'
        f' give --{flag}={words[0]},'
      )
    content = path.read_bytes()
    wide = content.startswith((b'\xff\xfe', b'\xfe\xff'))
    try:
      given = content.decode('utf-16' if wide else 'utf-8-sig').splitlines()
    except UnicodeDecodeError:
      raise specs.SpecError(f'--{flag}={words[0]}: the file is not UTF-8') from None
  given = [each.strip() for each in given if each.strip()]
  if words and not given:
    raise specs.SpecError(f'--{flag}={",".join(words)} holds no id')
  return given


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
    names = ('JAX_PLATFORMS', 'JAX_PLATFORM_NAME')
    name = next((each for each in names if os.environ.get(each)), names[0])
    value = os.environ.get(name, jax.config.jax_platforms)
    raise specs.SpecError(
      f'jax has no device for {name}={value}; install the jax that fits it'
      f' (https://docs.jax.dev/en/latest/installation.html), or unset {name}'
    ) from None


COMPILED_BYTES = 2**30  # Compiled programs that are kept at most.


def _keep_compiled():
  import jax

  from xdomain.data.readers import download

  wanted = not flags.FLAGS.is_parsed() or CACHE.value
  if wanted and jax.config.jax_compilation_cache_dir is None:
    folder = download.cache_dir() / 'compiled'
    with contextlib.suppress(OSError):
      folder.mkdir(parents=True, exist_ok=True)
    if os.access(folder, os.W_OK | os.X_OK):  # Else it goes on without.
      jax.config.update('jax_compilation_cache_dir', str(folder))
      # Small programs too: a second start compiles nothing.
      jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
      _bound(folder, COMPILED_BYTES)


def _bound(folder: pathlib.Path, most: int) -> None:
  """Deletes the oldest files of a folder until the rest holds at most so many bytes.

  jax can bound its cache itself, but then fails on a file that an earlier version or
  a killed process left behind.
  """
  with contextlib.suppress(OSError):  # Another command may be at it.
    files = [(path, path.stat()) for path in folder.iterdir()]
    files.sort(key=lambda each: each[1].st_mtime, reverse=True)
    total = 0
    for path, about in files:
      total += about.st_size
      if total > most:
        path.unlink()


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


def _resolved(word):
  """A word of the command line, with the path of the config that it names."""
  flag, equals, text = word.partition('=')
  if equals and flag.lstrip('-') == 'config':
    return f'{flag}={find(text)}'
  return word


def find(text: str) -> str:
  """`path.py:argument` of a config, found in the working directory or installed.

  `darec:item`, `darec.py:item` and `configs/darec.py:item` name the same.
  """
  name, colon, argument = text.partition(':')
  path = pathlib.Path(name).expanduser()
  inner = pathlib.Path(*path.parts[1:]) if path.parts[:1] == ('configs',) else path
  tried = (path, pathlib.Path('configs') / inner, CONFIGS / inner)
  for each in tried:
    for file in (each, each.with_name(f'{each.name}.py')) if each.name else ():
      if file.is_file():
        return f'{file}{colon}{argument}'
  return text


def load(text):
  """The config that `path.py:argument` names, before any override.

  Raises:
    ValueError: no such file, or an argument that it does not know.
  """
  path, _, argument = find(text).partition(':')
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
