"""Matrix products in the precision of their numbers, on every device.

By default a GPU rounds what it multiplies to 10 bits of mantissa (TF32), a TPU
to 7 (bfloat16). Normal equations need not be positive definite then, and near
ties of scores are broken otherwise.
"""

import functools

import jax


def full(function):
  """`function` traced with all 24 bits, unless jax has been told another.

  `JAX_DEFAULT_MATMUL_PRECISION=tensorfloat32`, for instance, is left alone.
  """

  @functools.wraps(function)
  def traced(*args, **kwargs):
    told = jax.config.jax_default_matmul_precision
    with jax.default_matmul_precision(told or 'highest'):
      return function(*args, **kwargs)

  return traced


def exact(function):
  """`function` traced with all 24 bits, whatever jax is set to: for solvers."""

  @functools.wraps(function)
  def traced(*args, **kwargs):
    with jax.default_matmul_precision('highest'):
      return function(*args, **kwargs)

  return traced
