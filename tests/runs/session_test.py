"""Errors of the system become one line, whichever library reports them."""

import contextlib
import errno
import resource

import jax
import numpy as np
import polars as pl
import pytest
from safetensors import numpy as safetensors

from xdomain.runs import session
from xdomain.runs import spec as specs


@contextlib.contextmanager
def files_of_at_most(size):
  """A context in which this process can write no longer file."""
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _plainly(path):
  with path.open('wb', buffering=0) as file:
    while True:
      file.write(bytes(4096))


WRITERS = {
  'python': _plainly,
  'safetensors': lambda path: safetensors.save_file({'a': np.ones(9999)}, path),
  'polars': lambda path: pl.DataFrame({'a': np.random.rand(9999)}).write_parquet(path),
}


@pytest.mark.parametrize('writer', WRITERS.values(), ids=WRITERS)
def test_a_disk_that_is_full_is_named_by_whatever_library_writes(writer, tmp_path):
  with files_of_at_most(8192), pytest.raises(Exception) as error:
    writer(tmp_path / 'file')
  assert session.advice(error.value).startswith('the disk is full; free some space')


def test_other_errors_of_the_system_keep_their_words():
  rust = RuntimeError('I/O error: Input/output error (os error 5)\nat a place')
  assert session.advice(rust) == 'I/O error: Input/output error (os error 5)'
  denied = PermissionError(errno.EACCES, 'Permission denied', 'runs/a')
  assert session.advice(denied) == 'Permission denied: runs/a'


def test_an_error_of_the_program_is_no_advice():
  assert session.advice(TypeError('unsupported operand')) is None


@pytest.mark.parametrize('name', ['JAX_PLATFORMS', 'JAX_PLATFORM_NAME'])
def test_the_variable_that_asks_for_a_missing_device_is_named(name, monkeypatch):
  def missing():
    raise RuntimeError("Unknown backend: 'gpu' requested, but no platforms are present")

  for each in ('JAX_PLATFORMS', 'JAX_PLATFORM_NAME'):
    monkeypatch.delenv(each, raising=False)
  monkeypatch.setenv(name, 'gpu')
  monkeypatch.setattr(jax, 'devices', missing)
  message = f'no device for {name}=gpu; .* unset {name}'
  with pytest.raises(specs.SpecError, match=message), session.opened(False):
    pass
