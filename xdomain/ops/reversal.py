"""Gradient reversal (Ganin and Lempitsky 2015; DARec eq. 5)."""

from typing import Any

import chex
import jax
import jax.numpy as jnp


@jax.custom_vjp
def reverse_gradient(x: Any, strength: jax.Array | float):
  """Returns `x`; its gradient is multiplied by `-strength` on the way back.

  Args:
    x: an array or a tree of arrays.
    strength: a scalar, DARec's mu; may be traced.
  """
  chex.assert_rank(strength, 0)  # The backward pass alone uses it.
  return x


def _forward(x, strength):
  return x, strength


def _backward(strength, gradient):
  reversed_ = jax.tree.map(lambda g: -strength * g, gradient)
  return reversed_, jnp.zeros_like(strength)


reverse_gradient.defvjp(_forward, _backward)
