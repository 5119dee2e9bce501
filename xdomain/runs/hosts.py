"""Processes of one run on several hosts, by `jax.distributed`.

Every process runs the same programs on the devices of all. The first one alone reads
the data (`sharing`), prints and writes; checkpoints are written by all. The folder of
runs is on a file system that all hosts share.
"""

import contextlib
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

import jax
import numpy as np

from xdomain.runs import spec as specs
from xdomain.runs import stop

CLUSTER = 'cluster'
SILENT = 30  # Seconds after which a silent process counts as dead.
# Seconds in which processes agree to end after a signal to one; SLURM and Kubernetes
# kill after 30.
GRACE = 20.0
# What the runtime says when another process has ended.
_SIGNS = ('Gloo', 'heartbeat', 'Connection closed by peer', 'Connection reset by peer')
_SIGNS += ('coordination service', 'CoordinationService', 'Socket closed')


class Among(NamedTuple):
  """The processes that this one is one of."""

  # Address and port of process 0; 'cluster' takes all three fields from SLURM,
  # Kubernetes or a TPU; None is a process on its own.
  coordinator: str | None = None
  processes: int | None = None
  process: int | None = None  # from 0


ALONE = Among()


@contextlib.contextmanager
def joined(among: Among) -> Iterator[None]:
  """A context in which this process is one of several.

  Raises:
    SpecError: a field is missing, or the others are not found.
  """
  coordinator, processes, process = among
  if not coordinator:
    yield
    return
  if jax.config.jax_platforms == 'cpu':  # pyright: ignore
    jax.config.update('jax_cpu_collectives_implementation', 'gloo')
  try:
    jax.distributed.initialize(
      None if coordinator == CLUSTER else coordinator,
      processes,
      process,
      heartbeat_timeout_seconds=SILENT,
      shutdown_timeout_seconds=SILENT,
    )
  except (RuntimeError, ValueError) as error:
    cause = str(error).strip().split('\n')[0]
    raise specs.SpecError(
      f'coordinator is {coordinator!r}, and the processes cannot be joined: {cause}'
    ) from None
  stop.set_grace(GRACE)
  with contextlib.ExitStack() as stack:
    if not first():
      nothing = stack.enter_context(open(os.devnull, 'w'))
      stack.enter_context(contextlib.redirect_stdout(nothing))
    yield
    jax.distributed.shutdown()


def first() -> bool:
  """Whether this process prints and writes records."""
  return jax.process_index() == 0


@contextlib.contextmanager
def own_folder(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """The folder for the first process; a temporary one for the others."""
  if first():
    yield folder
    return
  with tempfile.TemporaryDirectory() as other:
    yield pathlib.Path(other)


def any_of(*wishes: bool) -> tuple[bool, ...]:
  """Each wish, true if any process has it: all processes then do the same."""
  if jax.process_count() == 1:
    return wishes
  from jax.experimental import multihost_utils

  every = multihost_utils.process_allgather(np.array(wishes))
  return tuple(np.any(every, axis=0).tolist())


def lost(error: BaseException) -> bool:
  """Whether an error says that another process has ended."""
  return jax.distributed.is_initialized() and any(sign in str(error) for sign in _SIGNS)


def leave(status: int) -> NoReturn:
  """Ends this process; one of several does not wait for the others, which may hang."""
  if jax.distributed.is_initialized():
    sys.stderr.flush()
    os._exit(status)
  sys.exit(status)
