"""Losses and penalties."""

import chex
import jax
import jax.numpy as jnp


def squared_error(prediction, entries):
  """Sum of squared errors over observed entries; padding counts nothing."""
  chex.assert_equal_shape([prediction, entries.value])
  return jnp.sum(entries.weight * (prediction - entries.value) ** 2)


def binary_cross_entropy(logit, label):
  """`-label log s(logit) - (1 - label) log(1 - s(logit))`, elementwise."""
  return jax.nn.softplus(logit) - label * logit


def squared_norm(tree):
  """Sum of the squares of all entries of all arrays."""
  return sum(jnp.sum(x * x) for x in jax.tree.leaves(tree))
