"""Compiled programs are kept between test runs; most of the time is theirs."""

import os

# Several processes test at once and cannot share a GPU. Before jax is imported.
os.environ.setdefault('JAX_PLATFORMS', 'cpu')

import jax
import pytest

# Where it matters that a program runs and not how fast, over all models: they
# compile in two thirds of the time.
NOT_OPTIMISED = ('contract_test', 'configs_test')


@pytest.fixture(scope='session', autouse=True)
def compilation_cache(request):
  jax.config.update('jax_compilation_cache_dir', str(request.config.cache.mkdir('jax')))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)


@pytest.fixture(scope='module', autouse=True)
def no_more_programs_than_needed(request):
  """A process can hold only so many compiled programs."""
  name = request.module.__name__.split('.')[-1]
  jax.config.update('jax_disable_most_optimizations', name in NOT_OPTIMISED)
  yield
  jax.config.update('jax_disable_most_optimizations', False)
  jax.clear_caches()
