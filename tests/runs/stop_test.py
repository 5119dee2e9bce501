"""Signals end a command: between two calls, or within one that takes long."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from xdomain.runs import stop

# Compiled code that runs for minutes, as an epoch does, and saves or not.
PROGRAM = """
import contextlib, hashlib, sys
from xdomain.runs import stop
stop.GRACE = 0.2
with stop.on_signals(), stop.deferred():
  with stop.saving() if 'saving' in sys.argv else contextlib.nullcontext():
    print('ready', flush=True)
    hashlib.pbkdf2_hmac('sha256', b'', b'', int(sys.argv[1]))
  print('saved', flush=True)
"""


def started(*words):
  root = pathlib.Path(stop.__file__).parents[2]
  process = subprocess.Popen(
    [sys.executable, '-c', PROGRAM, *words],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    env=os.environ | {'PYTHONPATH': str(root)},
  )
  assert process.stdout.readline() == 'ready\n'
  return process


@pytest.mark.parametrize(
  'number',
  [
    signal.SIGTERM,
    *(
      pytest.param(number, marks=pytest.mark.matrix)
      for number in (signal.SIGHUP, signal.SIGINT)
    ),
  ],
)
def test_a_signal_ends_an_epoch_that_takes_too_long(number):
  process = started(str(10**9))
  began = time.monotonic()
  process.send_signal(number)
  _, error = process.communicate(timeout=20)
  assert time.monotonic() - began < 5
  assert (process.returncode, error) == (stop.STATUS, f'{stop.SAYS}\n')


def test_a_second_interrupt_ends_it_at_once():
  process = started(str(10**9), 'saving')
  process.send_signal(signal.SIGINT)
  time.sleep(0.05)  # Signals that come at once are one.
  process.send_signal(signal.SIGINT)
  process.communicate(timeout=20)
  assert process.returncode == stop.STATUS


def test_a_checkpoint_is_written_to_its_end():
  process = started(str(10**6), 'saving')
  process.send_signal(signal.SIGTERM)
  out, error = process.communicate(timeout=30)
  assert out == 'saved\n'
  assert error.splitlines()[-1] in ('xdomain.runs.stop.Stopped', stop.SAYS)


@pytest.mark.matrix
def test_a_request_within_a_destructor_ends_without_a_traceback():
  code = (
    'import hashlib, os, signal\nfrom xdomain.runs import stop\nstop.GRACE = 0.2\n'
    'class Last:\n  def __del__(self): os.kill(os.getpid(), signal.SIGTERM)\n'
    'with stop.on_signals():\n  last = Last()\n  del last\n'
    "  hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"
  )
  root = pathlib.Path(stop.__file__).parents[2]
  ended = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, cwd=root, timeout=30
  )
  assert (ended.returncode, ended.stderr) == (stop.STATUS, f'{stop.SAYS}\n')


def test_a_request_that_comes_after_the_last_epoch_stops_all_the_same():
  with pytest.raises(stop.Stopped), stop.deferred():
    stop.request()
    stop.request()  # `timeout` sends a signal twice.
  assert not stop.requested()
