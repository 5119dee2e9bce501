"""Tests run on the CPU, and their programs compile quickly and only once.

Nearly all the time of a test is spent in the compiler. Programs are therefore
compiled with few optimisations, which takes a quarter of the time, and are kept in
pytest's cache directory. An XLA_FLAGS that is set stays: XLA_FLAGS= (empty) compiles as
the commands do.
"""

import gc
import os
import pathlib

import pytest

from xdomain import programs

# Several processes test at once and cannot share a GPU.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')

programs.one_thread_of_blas()

QUICK_TO_COMPILE = {
  'xla_backend_optimization_level': '0',
  'xla_llvm_disable_expensive_passes': 'true',
  'xla_cpu_parallel_codegen_split_count': '1',
  'xla_cpu_use_fusion_emitters': 'false',
}


# XLA reads it once, when the first program is compiled.
if 'XLA_FLAGS' not in os.environ:
  os.environ['XLA_FLAGS'] = ' '.join(
    f'--{name}={value}'
    for name, value in QUICK_TO_COMPILE.items()
    if programs.knows(name)
  )


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

# Tests of numbers, which are also run as the commands compile.
OPTIMISED = (
  '/tests/ops/',
  '/tests/evaluation/rankings_test.py',
  '/tests/least_squares_test.py',
  '/tests/precision_test.py',
)

# Here each case compiles programs or trains word vectors of its own. The suite runs the
# last, which is the least trivial; the matrix runs the others.
ONE_CASE = (
  '/tests/data/readers/texts_test.py',
  '/tests/least_squares_test.py',
  '/tests/models/',
  '/tests/ops/',
)

# Models built of others that the suite holds to the contract; these the matrix does.
COMPOSED = ('fm_autorec', 'kernel_als', 'shared_vae_aux', 'shared_vae_cold')


def pytest_configure(config):
  """Tests name configs and results from the root."""
  os.chdir(config.rootpath)


@pytest.hookimpl(tryfirst=True)  # Before tests are chosen by their markers.
def pytest_collection_modifyitems(items):
  cases = {}
  for item in items:
    path = item.path.as_posix()
    if path.endswith(SMOKE):
      item.add_marker('smoke')
    if any(part in path for part in OPTIMISED) or 'another_implem' in item.name:
      item.add_marker('optimised')
    if '/tests/benchmarks/' in path:  # No part of the library.
      item.add_marker('matrix')
    if path.endswith('/models/contract_test.py'):  # Each case is another model.
      if any(f'[{name}' in item.name for name in COMPOSED):
        item.add_marker('matrix')
      continue
    if any(part in path for part in ONE_CASE):
      cases.setdefault(item.nodeid.partition('[')[0], []).append(item)
  for several in cases.values():
    for item in several[:-1]:
      item.add_marker('matrix')


@pytest.fixture(scope='session', autouse=True)
def compilation_cache(request):
  """Keeps every compiled program between test runs."""
  import jax

  jax.config.update('jax_compilation_cache_dir', str(request.config.cache.mkdir('jax')))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)


MAPPED = 4_000  # pieces of memory, of the 65,530 that Linux lets a process map


@pytest.fixture
def full_products():
  """Matrix products in the precision of a run."""
  import jax

  with jax.default_matmul_precision('highest'):
    yield


@pytest.fixture(scope='module', autouse=True)
def release_programs():
  """Frees compiled programs between modules: a process can hold only so many."""
  import jax

  yield
  maps = pathlib.Path('/proc/self/maps')
  if not maps.exists() or maps.read_bytes().count(b'\n') > MAPPED:
    jax.clear_caches()


def pytest_collection_finish():
  """Leaves what is imported out of garbage collection."""
  gc.freeze()
  gc.set_threshold(50_000, 20, 50)
