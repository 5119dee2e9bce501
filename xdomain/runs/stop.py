"""Requests to stop, such as SIGTERM: a run saves its state and ends.

A run that is training stops after its epoch, with a checkpoint. Python handles a signal
only between two calls, and an epoch of hours is one call: so a thread waits beside it,
and ends the process if the epoch takes longer than `GRACE`. Long epochs are saved as
they end (`xdomain.runs.run`), so such an end loses the running epoch alone.
"""

import contextlib
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Iterator

GRACE = 3.0  # Seconds that a running epoch has to end after a signal.
STATUS = 130  # The exit status of a process that was stopped.
SAYS = 'stopped; the same command resumes'
_SIGNALS = ('SIGINT', 'SIGTERM', 'SIGHUP')


class Stopped(BaseException):
  """Work was stopped on request; what was finished is kept."""


class _State:
  grace = GRACE
  deferring = False  # a run will look at requests after its epoch
  requested = False
  saving = False  # a checkpoint is being written


def set_grace(seconds: float) -> None:
  """Sets the seconds that a running epoch has to end after a signal."""
  _State.grace = seconds


def request() -> None:
  """Stops the work: at once, or after the epoch of a run.

  Raises:
    Stopped: unless a run is training.
  """
  if not _State.deferring:
    raise Stopped
  _State.requested = True


def requested() -> bool:
  """Whether a run should save its state and end."""
  return _State.requested


@contextlib.contextmanager
def deferred() -> Iterator[None]:
  """A context in which a request waits until `requested` is looked at.

  Raises:
    Stopped: at its end, for a request that came too late to be looked at.
  """
  _State.deferring, _State.requested = True, False
  try:
    yield
    if _State.requested:
      raise Stopped
  finally:
    _State.deferring = _State.requested = False


@contextlib.contextmanager
def saving() -> Iterator[None]:
  """A context in which a checkpoint is written, which a signal does not cut short."""
  _State.saving = True
  try:
    yield
  finally:
    _State.saving = False


@contextlib.contextmanager
def on_signals() -> Iterator[None]:
  """A context in which SIGINT, SIGTERM and SIGHUP are requests to stop.

  Where the main thread does not answer within `GRACE` seconds (or those of
  `set_grace`), as it cannot within compiled code, the process ends with `STATUS`. A
  second SIGINT ends it at once.
  """
  if threading.current_thread() is not threading.main_thread():
    yield  # Only the main thread has handlers.
    return
  numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
  ours, theirs = socket.socketpair()
  theirs.setblocking(False)
  before = {
    number: signal.signal(number, lambda *args: request()) for number in numbers
  }
  hook = sys.unraisablehook
  sys.unraisablehook = lambda error: _is_request(error) or hook(error)
  wakeup = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
  thread = threading.Thread(target=_end_if_late, args=(ours,), daemon=True)
  thread.start()
  try:
    yield
  finally:
    signal.set_wakeup_fd(wakeup)
    sys.unraisablehook = hook
    for number, handler in before.items():
      signal.signal(number, handler)
    theirs.close()
    thread.join()
    ours.close()


def _is_request(error) -> bool:
  """Whether a request was lost within a destructor; the thread ends the process."""
  return isinstance(error.exc_value, Stopped)


def _end_if_late(signals: socket.socket) -> None:
  """Ends the process if it outlives a signal; returns when the signals are closed."""
  interrupts, left = 0, None
  while interrupts < 2:
    ready, _, _ = select.select([signals], [], [], left)
    if ready:
      received = signals.recv(64)
      if not received:
        return
      interrupts += received.count(signal.SIGINT)
      left = left or _State.grace
    elif _State.saving:
      left = 1.0
    else:
      break
  print(SAYS, file=sys.stderr, flush=True)
  _show_cursor()
  os._exit(STATUS)


def _show_cursor() -> None:
  """Shows the cursor of a terminal, which a progress bar hides."""
  if sys.stdout.isatty():
    print('\x1b[?25h', end='', flush=True)
