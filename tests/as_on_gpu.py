"""Plugin: products of a CPU are rounded as a GPU's are, to find tests that need more.

python -m pytest -p tests.as_on_gpu tests/ops
"""

from benchmarks import rounding


def pytest_configure(config):
  del config
  rounding.round_factors()
