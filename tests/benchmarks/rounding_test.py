import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from benchmarks import rounding

# In a process of its own: the rounding stays until the process ends.
PRODUCTS = """
import sys
import jax
import numpy as np
from benchmarks import rounding

rounding.round_factors()
left, right = np.load(sys.argv[1])
for name in rounding.PRECISIONS:
  with jax.default_matmul_precision(name):
    total = jax.jit(lambda left: (left @ right).sum())
    product = jax.jit(lambda left, right: left @ right)(left, right)
    np.save(f'{sys.argv[2]}/{name}.npy', [product, jax.grad(total)(left)])
"""


def nearest(values, bits):
  """float64 values at a mantissa of so many bits."""
  mantissa, exponent = np.frexp(values.astype(np.float64))
  return np.ldexp(np.round(mantissa * 2 ** (bits + 1)), exponent - bits - 1)


@pytest.mark.matrix
def test_products_and_gradients_round_their_factors(tmp_path):
  both = np.random.default_rng(0).normal(size=(2, 32, 32)).astype(np.float32)
  np.save(tmp_path / 'both.npy', both)
  subprocess.run(
    [sys.executable, '-c', PRODUCTS, str(tmp_path / 'both.npy'), str(tmp_path)],
    check=True,
  )
  for name, bits in rounding.PRECISIONS.items():
    product, gradient = np.load(tmp_path / f'{name}.npy')
    left, right = nearest(both, bits)
    np.testing.assert_allclose(product, left @ right, atol=2e-5)
    np.testing.assert_allclose(gradient, np.ones((32, 32)) @ right.T, atol=2e-5)


def test_bits_of_a_precision():
  assert np.array_equal(
    nearest(np.float32([1 + 2**-7, 1 + 2**-9, -3.14]), 7),
    np.float64(jnp.asarray([1 + 2**-7, 1 + 2**-9, -3.14], jnp.bfloat16)),
  )
  high = lax.Precision.HIGH
  assert rounding.bits_of((high, high)) == rounding.bits_of(None) == 10
  assert rounding.bits_of(lax.DotAlgorithmPreset.BF16_BF16_F32) == 7
  assert rounding.bits_of((lax.Precision.HIGHEST,) * 2) == 23
