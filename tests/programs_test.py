"""Compiled programs are counted, and their folder stays within its bound."""

import os

import jax
import numpy as np

from xdomain import programs


def test_the_oldest_compiled_programs_go_first(tmp_path):
  for age, name in enumerate(('newest', 'older', 'oldest')):
    (tmp_path / name).write_bytes(b'x' * 40)
    os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
  programs.bound(tmp_path, 100)
  assert sorted(path.name for path in tmp_path.iterdir()) == ['newest', 'older']
  programs.bound(tmp_path, 100)
  assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_is_gone_is_no_fault(tmp_path):
  programs.bound(tmp_path / 'gone', 100)


def test_a_program_is_counted_once_and_only_while_it_is_watched():
  # A constant that no earlier call has seen, so that there is something to compile.
  program = jax.jit(lambda x: x * 1.2345 + np.arange(3))
  x = np.ones(3, np.float32)
  with programs.watch() as outer:
    with programs.watch() as inner:
      program(x)
    program(x)
    program(np.ones((2, 3), np.float32))
  assert (inner.programs, outer.programs) == (1, 2)
  assert 0 < inner.seconds < outer.seconds
  program(np.ones((4, 3), np.float32))
  assert outer.programs == 2
  assert str(outer).startswith('compiled 2 programs')
