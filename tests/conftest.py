"""Tests run on the CPU, and their programs compile quickly and only once.

Nearly all the time of a test is spent in the compiler. Programs are therefore
compiled with few optimisations, which takes a quarter of the time, and are kept in
pytest's cache directory. An XLA_FLAGS that is set stays: XLA_FLAGS= (empty) compiles as
the commands do.
"""

import importlib.util
import mmap
import os
import pathlib

import pytest

# Several processes test at once and cannot share a GPU.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')

QUICK_TO_COMPILE = {
  'xla_backend_optimization_level': '0',
  'xla_llvm_disable_expensive_passes': 'true',
  'xla_cpu_parallel_codegen_split_count': '1',
  'xla_cpu_use_fusion_emitters': 'false',
}


def known_flags() -> str:
  """The flags above that this jaxlib has: it aborts on any other."""
  spec = importlib.util.find_spec('jaxlib')
  folder = pathlib.Path(spec.origin).parent
  library = max(folder.glob('*.so'), key=lambda path: path.stat().st_size)
  with (
    open(library, 'rb') as file,
    mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
  ):
    return ' '.join(
      f'--{name}={value}'
      for name, value in QUICK_TO_COMPILE.items()
      if content.find(name.encode()) >= 0
    )


# jax reads it once, so this file imports jax inside its fixtures.
if 'XLA_FLAGS' not in os.environ:
  os.environ['XLA_FLAGS'] = known_flags()


# Quick modules that together meet every part of the package.
SMOKE = (
  'data/splits_test.py',
  'evaluation/rankings_test.py',
  'imports_test.py',
  'models/bias_test.py',
  'models/ease_test.py',
  'ops/losses_test.py',
  'training/loop_test.py',
)


def pytest_collection_modifyitems(items):
  for item in items:
    path = item.path.as_posix()
    if path.endswith(SMOKE):
      item.add_marker('smoke')
    if '/tests/benchmarks/' in path:  # No part of the library.
      item.add_marker('matrix')


@pytest.fixture(scope='session', autouse=True)
def compilation_cache(request):
  """Keeps every compiled program between test runs."""
  import jax

  jax.config.update('jax_compilation_cache_dir', str(request.config.cache.mkdir('jax')))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)


@pytest.fixture(scope='module', autouse=True)
def release_programs():
  """Frees the programs of a module: a process can hold only so many."""
  import jax

  yield
  jax.clear_caches()
