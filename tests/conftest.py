"""Compiled programs are kept between test runs; most of the time is theirs."""

import jax
import pytest


@pytest.fixture(scope='session', autouse=True)
def compilation_cache(request):
  jax.config.update(
    'jax_compilation_cache_dir', str(request.config.cache.mkdir('jax'))
  )
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)


@pytest.fixture(scope='module', autouse=True)
def no_more_programs_than_needed():
  """A process can hold only so many compiled programs."""
  yield
  jax.clear_caches()
