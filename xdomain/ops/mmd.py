"""Distances of two samples: the maximum mean discrepancy (SharedVAE, eq. 9).

Both measures are `(x [B, Z], y [B, Z], weight [B]) -> scalar`. Row b of both samples
belongs to one user; the weight is 1 for a user and 0 for padding, which changes no
value.

The kernel is the mean of five Gaussians around a bandwidth that follows the batch
(Gretton et al. 2012; Long et al. 2015, DAN, add them instead). With a fixed
bandwidth, samples that are far apart no longer attract each other. With a gradient
through the bandwidth, the loss would fall by spreading the samples.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

WIDTHS = 0.25, 0.5, 1, 2, 4  # in bandwidths
FLOOR = 1e-6  # of the bandwidth, for points that coincide


def median_distance(squared: jax.Array, weight: jax.Array):
  """The exact median squared distance of two different real points.

  Args:
    squared: `[N, N]` squared distances.
    weight: `[N]` 1 for a real point and 0 for padding.
  """
  _assert_pairs(squared, weight)
  pair = np.triu_indices(squared.shape[0], 1)
  real = (weight[pair[0]] > 0) & (weight[pair[1]] > 0)
  count = jnp.sum(real)
  distances = jnp.where(real, squared[pair], jnp.inf)
  low = _smallest(distances, (count - 1) // 2)
  above = jnp.min(distances, where=distances > low, initial=jnp.inf)
  tied = jnp.sum(distances <= low) > count // 2
  return (low + jnp.where(tied, low, above)) / 2


def _smallest(values, k):
  """The k-th smallest value, counted from 0; values must not be negative.

  The bits of such floats sort like the floats, so the result is found bit by bit:
  30 times as fast as sorting the distances of a batch of 128 users.
  """
  size = jnp.finfo(values.dtype).bits
  pattern = jax.lax.bitcast_convert_type(values, f'int{size}')

  def step(i, low):
    higher = low | jnp.left_shift(jnp.ones_like(low), size - 2 - i)
    return jnp.where(jnp.sum(pattern < higher) <= k, higher, low)

  low = jax.lax.fori_loop(0, size - 1, step, jnp.zeros((), pattern.dtype))
  return jax.lax.bitcast_convert_type(low, values.dtype)


def biased(x: jax.Array, y: jax.Array, weight: jax.Array):
  """The biased squared discrepancy, over all pairs; at least 0 and at most 2.

  Gretton et al. 2012, eq. 5.

  Args:
    x: `[B, Z]`.
    y: `[B, Z]`.
    weight: `[B]`.
  """
  kernel = _kernel(x, y, weight)
  share = weight / jnp.maximum(jnp.sum(weight), 1)
  difference = jnp.concatenate([share, -share])
  return jnp.sum(jnp.outer(difference, difference) * kernel)


def paired_l2(x: jax.Array, y: jax.Array, weight: jax.Array):
  """The mean squared distance of a user's two points, as in SharedVAE's code.

  It compares users, not distributions, and adds over latents.
  """
  _assert_samples(x, y, weight)
  return _mean(jnp.sum((x - y) ** 2, axis=1), weight)


def _kernel(x, y, weight):
  """`[2B, 2B]` means of `exp(-d / (c s))` over widths c, for the median distance s."""
  _assert_samples(x, y, weight)
  squared = _squared_distances(jnp.concatenate([x, y]))
  squared_now = jax.lax.stop_gradient(squared)
  scale = median_distance(squared_now, jnp.concatenate([weight, weight]))
  scale = jnp.maximum(scale, FLOOR)
  total = sum(jnp.exp(-squared / (c * scale)) for c in WIDTHS)
  return jnp.asarray(total) / len(WIDTHS)


def _squared_distances(points):
  """`[N, N]` squared distances, clamped at 0 against rounding."""
  norm = jnp.sum(points**2, axis=1)
  product = jnp.matmul(points, points.T, precision='highest')
  return jnp.maximum(norm[:, None] + norm - 2 * product, 0)


def _mean(values, weight):
  """The weighted mean over rows."""
  total = jnp.matmul(weight, values, precision='highest')
  return total / jnp.maximum(jnp.sum(weight), 1)


def _assert_samples(x, y, weight):
  chex.assert_rank([x, y, weight], [2, 2, 1])
  chex.assert_equal_shape([x, y])
  chex.assert_shape(x, (*weight.shape, None))


def _assert_pairs(squared, weight):
  chex.assert_rank(weight, 1)
  chex.assert_shape(squared, 2 * weight.shape)
