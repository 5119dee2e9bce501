"""Commands in processes of their own, that start quickly and can be killed.

A process is forked from this one after the packages are imported, and before jax has
begun to compute. Compiled programs are kept where commands keep them.
"""

import contextlib
import os
import pathlib
import resource
import runpy
import signal
import sys
import time
import traceback
import warnings
from typing import NamedTuple

ENDS = 10.0  # Seconds that a command has to end after a signal.
LONGEST = 1200.0  # Seconds of any command, on a busy machine.


class Limits(NamedTuple):
  """Limits of a process."""

  bytes_of_a_file: int | None = None
  user: int | None = None  # that it runs as, where this process may choose


FREE = Limits()


class Ended(NamedTuple):
  """A process that has ended."""

  status: int  # of the exit, or minus the signal
  text: str  # output and errors
  seconds: float
  hung: bool = False  # it was killed after `LONGEST`, or `ENDS` after a signal


def import_packages() -> None:
  """Imports the packages of the commands; no module that defines flags."""
  os.environ.setdefault('JAX_PLATFORMS', 'cpu')
  import chex  # noqa: F401
  import flax  # noqa: F401
  import ml_collections  # noqa: F401
  import optax  # noqa: F401
  import orbax.checkpoint  # noqa: F401
  import safetensors.numpy  # noqa: F401

  import xdomain.api
  import xdomain.programs
  import xdomain.reporting.terminal
  import xdomain.runs.tables
  import xdomain.runs.tune
  import xdomain.training.loop  # noqa: F401


def start(words: list[str], log: pathlib.Path, limits: Limits = FREE) -> int:
  """Forks a command; returns the id of its process.

  Args:
    words: the module in `experiments`, and its flags.
    log: receives what it prints.
    limits: of the process.
  """
  sys.stdout.flush()
  sys.stderr.flush()
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # Threads of imported packages are idle.
    process = os.fork()
  if process:
    return process
  status = 70
  try:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    if limits.bytes_of_a_file is not None:
      size = limits.bytes_of_a_file
      resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    if limits.user is not None:
      os.setuid(limits.user)
    status = _run(words)
    sys.stdout.flush()
    sys.stderr.flush()
  except BaseException:
    with contextlib.suppress(BaseException):
      traceback.print_exc()
      sys.stderr.flush()
  finally:
    os._exit(status)


def _run(words) -> int:
  """Runs a command as `python -m` does, and returns its exit status."""
  module, *flags = words
  sys.argv = [module, *flags]
  try:
    runpy.run_module(f'experiments.{module}', run_name='__main__', alter_sys=True)
  except SystemExit as end:
    return end.code if isinstance(end.code, int) else int(end.code is not None)
  return 0


def finish(
  process: int,
  log: pathlib.Path,
  after: float = LONGEST,
  number: int | None = None,
) -> Ended:
  """Waits for a process, and sends it a signal if it has not ended before.

  Args:
    process: its id.
    log: as it was started with.
    after: seconds until the signal.
    number: of the signal; None kills a process that takes so long, as it hangs.
  """
  began = time.monotonic()
  code = _wait(process, after)
  hung = code is None and number is None
  if code is None and number is not None:
    os.kill(process, number)
    code = _wait(process, ENDS)
    hung = code is None
  if code is None:
    os.kill(process, signal.SIGKILL)
    code = _wait(process, 60)
  status = os.waitstatus_to_exitcode(code or 0)
  text = log.read_text(errors='replace') if log.exists() else ''
  return Ended(status, text, time.monotonic() - began, hung)


def _wait(process, seconds) -> int | None:
  """The status of a process, or None if it has not ended after so many seconds."""
  deadline = time.monotonic() + seconds
  while True:
    ended, status = os.waitpid(process, os.WNOHANG)
    if ended:
      return status
    if time.monotonic() > deadline:
      return None
    time.sleep(0.005)


def run(
  words: list[str],
  log: pathlib.Path,
  limits: Limits = FREE,
  after: float = LONGEST,
  number: int | None = None,
) -> Ended:
  """Starts a command and waits for its end."""
  return finish(start(words, log, limits), log, after, number)


def fault(ended: Ended) -> str:
  """The fault in the end of a command that failed; '' if there is none.

  It must end with one line that begins with `error: `, and print no traceback.
  """
  lines = ended.text.strip().splitlines()
  if ended.hung:
    return f'no end after {ended.seconds:.0f} s'
  if 'Traceback (most recent call last)' in ended.text:
    return f'a traceback: {lines[-1][:200]}'
  if ended.status not in (1, 2):
    return f'ends with status {ended.status}: {lines[-1][:200] if lines else ""}'
  if not lines or not lines[-1].startswith('error: '):
    return f'the last line is no error: {lines[-1][:200] if lines else ""}'
  if sum(line.startswith(('error', 'E1', 'W1')) for line in lines) > 1:
    return 'more than one line of errors'
  return ''
