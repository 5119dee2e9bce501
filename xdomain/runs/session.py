"""The process that runs are trained in: its signals, device, programs and errors."""

import contextlib
import errno
import os
import re
from collections.abc import Iterator

import jax

from xdomain import files, programs
from xdomain.data import types
from xdomain.reporting import records
from xdomain.runs import artifact, hosts, stop
from xdomain.runs import spec as specs
from xdomain.training import checkpoint, loop

# Errors whose message names the remedy.
EXPLAINED = (
  specs.SpecError,
  types.DataError,
  artifact.ArtifactError,
  loop.Diverged,
  checkpoint.NotSaved,
  checkpoint.WrongCheckpoint,
  files.DamagedFile,
  records.RecordError,
)


@contextlib.contextmanager
def opened(
  keep_programs: bool = True, among: hosts.Among = hosts.ALONE
) -> Iterator[None]:
  """A context in which runs can be stopped by a signal and resumed.

  Numbers have 32 bits, whatever JAX_ENABLE_X64 is.

  Args:
    keep_programs: keeps compiled programs beside the data, unless jax has a folder
      for them already.
    among: the processes that this one is one of.

  Raises:
    SpecError: jax has no device for JAX_PLATFORMS, or the processes do not meet.
    Stopped: at a signal to end; what was finished is kept.
  """
  programs.compile_quickly()
  programs.one_thread_of_blas()
  if keep_programs:
    programs.keep()
  with hosts.joined(among), jax.enable_x64(False), stop.on_signals():
    _check_device()
    yield


def advice(error: BaseException) -> str | None:
  """The line by which a user can mend an error; None where no user can."""
  if hosts.lost(error):
    return (
      'another process of this run has ended; the same command resumes from the last'
      ' checkpoint'
    )
  if isinstance(error, EXPLAINED):
    return str(error)
  name = getattr(error, 'filename', None)
  file = f': {name}' if name else ''
  number = _system_error(error)
  if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
    return (
      'the disk is full; free some space, and the same command resumes from what was'
      f' saved{file}'
    )
  if isinstance(error, OSError):
    return f'{error.strerror or error}{file}'
  if number is not None:
    return str(error).splitlines()[0]
  memory = isinstance(error, jax.errors.JaxRuntimeError)
  if memory and 'RESOURCE_EXHAUSTED' in str(error):
    return (
      'the device has too little memory; try a smaller model.batch or, in a sweep,'
      ' width=1, and check that no other process uses the device; the same command'
      ' resumes from what was saved'
    )
  return None


# The errors of libraries in Rust, such as safetensors, are no OSError; the second form
# is that of safetensors before 0.6.
_IN_RUST = re.compile(r'\(os error (\d+)\)|Os \{ code: (\d+),')


def _system_error(error) -> int | None:
  """The number of the system's error that an exception reports; None for no such."""
  if isinstance(error, OSError) and error.errno is not None:
    return error.errno
  if 'No space left' in str(error):
    return errno.ENOSPC
  found = _IN_RUST.search(str(error))
  return int(found[1] or found[2]) if found else None


def _check_device():
  """Refuses a `JAX_PLATFORMS` that this jax has no device for."""
  try:
    jax.devices()
  except (AssertionError, RuntimeError):
    names = ('JAX_PLATFORMS', 'JAX_PLATFORM_NAME')
    name = next((each for each in names if os.environ.get(each)), names[0])
    value = os.environ.get(name, jax.config.jax_platforms)  # pyright: ignore
    raise specs.SpecError(
      f'jax has no device for {name}={value}; install the jax that fits it'
      f' (https://docs.jax.dev/en/latest/installation.html), or unset {name}'
    ) from None
