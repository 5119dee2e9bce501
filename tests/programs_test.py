"""Compiled programs are counted, and their folder stays within its bound."""

import os

import jax
import numpy as np
import pytest

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


def test_time_in_which_two_programs_are_compiled_counts_once(monkeypatch):
  counts = programs.Compiled()
  for now, seconds in ((3.0, 3.0), (5.0, 4.0), (9.0, 1.0)):  # 0 to 5, and 8 to 9.
    monkeypatch.setattr(programs.time, 'monotonic', lambda now=now: now)
    counts.add(seconds)
  assert (counts.programs, counts.seconds) == (3, 6.0)


@pytest.mark.parametrize(
  'plugins, before, after',
  [
    ([], '--xla_a=1', '--xla_a=1'),
    (['cuda'], '', '--xla_gpu_enable_triton_gemm=false'),
    (['cuda'], '--xla_a=1', '--xla_a=1 --xla_gpu_enable_triton_gemm=false'),
    (['cuda'], '--xla_gpu_enable_triton_gemm=true', None),
  ],
)
def test_a_gpu_tries_no_triton_products_unless_asked(
  monkeypatch, plugins, before, after
):
  monkeypatch.setenv('XLA_FLAGS', before)
  monkeypatch.setattr(
    programs.importlib.metadata, 'entry_points', lambda group: plugins
  )
  programs.compile_quickly()
  assert os.environ['XLA_FLAGS'] == (before if after is None else after)


@pytest.mark.parametrize(
  'cores, before, after', [(2, None, '1'), (2, '2', '2'), (16, None, None)]
)
def test_few_cores_get_one_thread_of_blas(monkeypatch, cores, before, after):
  monkeypatch.delenv('OPENBLAS_NUM_THREADS', raising=False)
  if before:
    monkeypatch.setenv('OPENBLAS_NUM_THREADS', before)
  monkeypatch.setattr(programs.os, 'cpu_count', lambda: cores)
  programs.one_thread_of_blas()
  assert os.environ.get('OPENBLAS_NUM_THREADS') == after


def test_an_option_that_this_jaxlib_lacks_is_not_set(monkeypatch):
  assert programs.knows('--xla_backend_optimization_level')
  assert not programs.knows('--xla_backend_optimization')  # A part of a name.
  assert not programs.knows('--xla_there_is_no_such_option')
  monkeypatch.setenv('XLA_FLAGS', '')
  monkeypatch.setattr(
    programs.importlib.metadata, 'entry_points', lambda group: ['cuda']
  )
  monkeypatch.setattr(programs, 'QUICK_ON_GPU', '--xla_there_is_no_such_option=1')
  programs.compile_quickly()
  assert os.environ['XLA_FLAGS'] == ''
