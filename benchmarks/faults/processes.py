"""Commands in processes of their own, that start quickly and can be killed.

A process is forked from this one after the packages are imported, and before jax has
begun to compute. Compiled programs are kept where commands keep them. Moments are in
CPU seconds of the process, or in changes of files, so that a busy machine changes
nothing; both need Linux.
"""

import contextlib
import ctypes
import importlib
import itertools
import math
import mmap
import os
import pathlib
import resource
import runpy
import signal
import struct
import sys
import time
import traceback
import warnings
from typing import NamedTuple

ENDS = 10.0  # Seconds that a command has to end after a signal.
LONGEST = 300.0  # Seconds of any command.


class Limits(NamedTuple):
  """Limits of a process."""

  bytes_of_a_file: int | None = None
  obeys_modes: bool = False  # also where it runs as root
  changes: int | None = None  # of files; it is killed before the next


FREE = Limits()


class Ended(NamedTuple):
  """A process that has ended."""

  status: int  # of the exit, or minus the signal
  text: str  # output and errors
  seconds: float  # of CPUs
  changes: int  # of files
  hung: bool = False  # it was killed after `LONGEST`, or `ENDS` after a signal


# Packages that commands import as they go; none of them starts a thread by that.
_PACKAGES = ('chex', 'flax', 'ml_collections.config_flags', 'optax')
_PACKAGES += ('orbax.checkpoint', 'safetensors.numpy', 'matplotlib.pyplot', 'polars')
_PACKAGES += ('optuna.samplers', 'sqlalchemy.dialects.sqlite', 'alembic.command')
_PACKAGES += ('scipy.sparse.linalg', 'scipy.stats', 'tensorboardX', 'xdomain.api')
_PACKAGES += ('xdomain.programs', 'xdomain.reporting.terminal', 'xdomain.runs.beside')
_PACKAGES += ('xdomain.runs.tables', 'xdomain.runs.tune', 'xdomain.training.loop')


def import_packages() -> None:
  """Imports the packages of the commands; no module that defines flags."""
  os.environ.setdefault('JAX_PLATFORMS', 'cpu')
  os.environ.setdefault('MPLBACKEND', 'agg')
  for name in _PACKAGES:
    with contextlib.suppress(ImportError):  # Of an extra that is not installed.
      importlib.import_module(name)


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
    if limits.obeys_modes and not os.geteuid():
      _drop_override()
    _count_changes(limits.changes)
    status = _run(words)
    sys.stdout.flush()
    sys.stderr.flush()
  except BaseException:
    with contextlib.suppress(BaseException):
      traceback.print_exc()
      sys.stderr.flush()
  finally:
    os._exit(status)


# Calls of Python that change a file or a folder.
_CHANGES = ('os.rename', 'os.remove', 'os.rmdir', 'os.mkdir', 'os.link', 'os.truncate')
_counted = mmap.mmap(-1, 8)  # The changes of the last process, for its parent too.


def _count_changes(limit) -> None:
  """Counts the changes of files of this process, and kills it after so many."""
  count = itertools.count()

  def audit(event, args):
    writes = event == 'open' and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes or event in _CHANGES:
      before = next(count)
      if before == limit:
        os.kill(os.getpid(), signal.SIGKILL)
      struct.pack_into('q', _counted, 0, before + 1)

  struct.pack_into('q', _counted, 0, 0)
  sys.addaudithook(audit)


def _drop_override() -> None:
  """Takes from root the right to write where the mode of a file forbids it.

  A user of another id could not read the interpreter's files, wherever they are.
  """
  libc = ctypes.CDLL(None, use_errno=True)
  header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # Of linux/capability.h, version 3.
  sets = (ctypes.c_uint32 * 6)()  # Effective, permitted, inheritable; low, then high.
  if libc.capget(header, sets):
    raise OSError(ctypes.get_errno(), 'capget')
  sets[0] &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH.
  if libc.capset(header, sets):
    raise OSError(ctypes.get_errno(), 'capset')


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
    after: CPU seconds until the signal.
    number: of the signal; None for none.
  """
  code, spent = _wait(process, LONGEST, after)
  hung = code is None and spent < after
  if code is None and number is not None and not hung:
    os.kill(process, number)
    code, spent = _wait(process, ENDS)
    hung = code is None
  if code is None:
    os.kill(process, signal.SIGKILL)
    code, _ = _wait(process, 60)
  status = os.waitstatus_to_exitcode(code or 0)
  text = log.read_text(errors='replace') if log.exists() else ''
  (changes,) = struct.unpack_from('q', _counted)
  return Ended(status, text, spent, changes, hung)


def _wait(process, seconds, cpu_seconds=math.inf) -> tuple[int | None, float]:
  """The status of a process, None if it has not ended in time; its CPU seconds.

  Time counts towards `seconds` only while the process had a CPU or needed none, so
  that a busy or paused machine makes no process late.
  """
  waited = spent = queued = 0.0
  sampled = time.monotonic()
  while True:
    with contextlib.suppress(OSError):
      # The clock of another process, by the definition of Linux.
      spent = time.clock_gettime(~process << 3 | 2)
    ended, status = os.waitpid(process, os.WNOHANG)
    if ended:
      return status, spent
    passed = time.monotonic() - sampled
    if passed > 0.1:
      before, queued = queued, _queued(process)
      # This process may have been paused, too.
      waited += max(0.0, min(passed, 0.5) - max(0.0, queued - before))
      sampled += passed
    if spent >= cpu_seconds or waited > seconds:
      return None, spent
    time.sleep(0.005)


def _queued(process) -> float:
  """Seconds that the threads of a process have waited for a CPU."""
  total = 0
  for path in pathlib.Path(f'/proc/{process}/task').glob('*/schedstat'):
    with contextlib.suppress(OSError):  # A thread may end meanwhile.
      total += int(path.read_text().split()[1])
  return total / 1e9


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
