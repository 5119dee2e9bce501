"""A request to stop, such as SIGTERM, that a run answers after its epoch."""

import contextlib
from collections.abc import Iterator


class Stopped(BaseException):
  """Work was stopped on request; what was finished is kept."""


class _State:
  deferring = False  # a run will look at requests after its epoch
  requested = False


def request() -> None:
  """Stops the work: at once, or after the epoch of a run; a second time at once.

  Raises:
    Stopped: unless a run is training.
  """
  if not _State.deferring or _State.requested:
    raise Stopped
  _State.requested = True


def requested() -> bool:
  """Whether a run should save its state and end."""
  return _State.requested


@contextlib.contextmanager
def deferred() -> Iterator[None]:
  """A context in which a request waits until `requested` is looked at."""
  _State.deferring, _State.requested = True, False
  try:
    yield
  finally:
    _State.deferring = _State.requested = False
