"""Matrix products in full float32 on every device.

By default, a GPU rounds the factors of a product to 10 bits of mantissa (TF32) and
a TPU to 7 (bfloat16). Normal equations may then lose positive definiteness, and
near ties of scores are broken differently.
"""

import functools
from collections.abc import Callable

import jax


def full(function: Callable):
  """`function` traced with full float32 products, unless jax is set otherwise.

  The setting is `JAX_DEFAULT_MATMUL_PRECISION`, for instance `tensorfloat32`.
  """

  @functools.wraps(function)
  def traced(*args, **kwargs):
    chosen = jax.config.jax_default_matmul_precision  # pyright: ignore
    with jax.default_matmul_precision(chosen or 'highest'):
      return function(*args, **kwargs)

  return traced


def exact(function: Callable):
  """`function` traced with full float32 products in every case: for solvers."""

  @functools.wraps(function)
  def traced(*args, **kwargs):
    with jax.default_matmul_precision('highest'):
      return function(*args, **kwargs)

  return traced
