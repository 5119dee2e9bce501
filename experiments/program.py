"""The run of a command: its session, and errors as one line that names flags."""

import contextlib
import re
import sys

from absl import flags, logging

from experiments import output

CACHE = flags.DEFINE_boolean(
  'compile_cache', True, "Keep compiled programs in the user's cache folder."
)


@contextlib.contextmanager
def running(*among: str | int | None):
  """The context of every command: an error that a user can mend ends it in one line.

  Args:
    *among: the fields of `hosts.Among`, of a command that several processes can run.
  """
  # Imported here, so that --help and a wrong flag end at once.
  from xdomain.runs import stop

  logging.set_verbosity(logging.WARNING)  # jax logs every missing backend.
  output.escape()
  sys.excepthook, sys.unraisablehook = _hook, _unraisable_hook
  try:
    from xdomain.runs import hosts, session

    parsed = flags.FLAGS.is_parsed()
    with session.opened(not parsed or CACHE.value, hosts.Among(*among)):
      yield
  except (stop.Stopped, KeyboardInterrupt):
    print(stop.SAYS, file=sys.stderr)
    _leave(stop.STATUS)
  except BrokenPipeError:
    output.drop()
    _leave(0)
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


def _unraisable_hook(unraisable):
  """As `_hook`, for errors within calls from C++."""
  if str(unraisable.exc_value) != 'Event loop is closed':
    sys.__unraisablehook__(unraisable)


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
