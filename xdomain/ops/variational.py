"""The two terms of a variational autoencoder over 0/1 interactions."""

import functools

import chex
import jax
import jax.numpy as jnp

from xdomain.ops import sparse

# On a CPU, blocks of items that fit the cache let a large table be read once
# instead of twice. Blocks of 256 to 1024 items took the same time; tables of 8 MB
# were faster whole, tables of 20 MB in blocks. An accelerator is fastest with all
# items at once.
CHUNK = {'cpu': 512}
CACHE = 1 << 24


def kl_to_standard_normal(mean: jax.Array, logvar: jax.Array):
  """`[B]` Kullback-Leibler divergences of `N(mean, exp(logvar))` from `N(0, I)`.

  Kingma and Welling 2014, appendix B; a sum over the latents.

  Args:
    mean: `[B, Z]`.
    logvar: `[B, Z]` logarithms of the variances.
  """
  chex.assert_equal_shape([mean, logvar])
  return 0.5 * jnp.sum(mean**2 + jnp.expm1(logvar) - logvar, axis=-1)


def reconstruction(
  hidden: jax.Array,
  table: jax.Array,
  bias: jax.Array,
  entries: sparse.Entries,
  beta: jax.Array | float,
  weight: jax.Array,
  *,
  chunk: int | None = None,
):
  """Scalar cross entropy over all items, with weight `1 + beta` on positives.

  SharedVAE, eq. 8, in the logits `l = hidden @ table.T + bias`, with `s` the
  softplus: `sum_b weight_b (sum_j s(l_bj) + sum_positives beta s(-l) - l)`.
  Value and gradients take one pass over the items. `entries`, `beta` and `weight`
  are data and have no gradient. Reverse mode only.

  Args:
    hidden: `[B, H]` the last hidden layer of the batch.
    table: `[n, H]` output weights, a row for each item.
    bias: `[n]` output bias.
    entries: the positives of the batch, each once, P slots; weight 0 marks
      padding, values are not read.
    beta: extra weight of the positives; may be traced.
    weight: `[B]` weight of each user, 0 for padding.
    chunk: at most `[B, chunk]` logits are held at a time; by default all, or as
      many as suit a CPU's cache.
  """
  chex.assert_rank([hidden, table, bias, weight], [2, 2, 1, 1])
  chex.assert_equal_shape(entries)
  if chunk is None:
    chunk = _default_chunk(table)
  return _reconstruction(hidden, table, bias, entries, beta, weight, chunk)


def _default_chunk(table):
  """Number of items at a time: all, unless the table exceeds a CPU's cache."""
  if table.size * table.dtype.itemsize <= CACHE:
    return table.shape[0]
  return CHUNK.get(jax.default_backend(), table.shape[0])


@functools.partial(jax.custom_vjp, nondiff_argnums=(6,))
def _reconstruction(hidden, table, bias, entries, beta, weight, chunk):
  value, _ = _forward(hidden, table, bias, entries, beta, weight, chunk)
  return value


def _forward(hidden, table, bias, entries, beta, weight, chunk):
  def block(start, size, carry):
    total, d_hidden, d_table, d_bias = carry
    rows = jax.lax.dynamic_slice_in_dim(table, start, size)
    logit = hidden @ rows.T
    logit += jax.lax.dynamic_slice_in_dim(bias, start, size)
    inside = _inside(entries, start, size)
    value, d_logit = _cross_entropy(logit, inside, beta, weight)
    put = jax.lax.dynamic_update_slice_in_dim
    return (
      total + value,
      d_hidden + d_logit @ rows,
      put(d_table, d_logit.T @ hidden, start, axis=0),
      put(d_bias, jnp.sum(d_logit, axis=0), start, axis=0),
    )

  zeros = jax.tree.map(jnp.zeros_like, (hidden, table, bias))
  carry = jnp.zeros((), hidden.dtype), *zeros
  value, *gradients = _blocks(block, table.shape[0], chunk, carry)
  return value, gradients


def _blocks(body, n, size, carry):
  """Folds `body(start, size, carry)` over `0..n-1`; the last block may be smaller."""
  if n <= size:
    return body(0, n, carry)
  rest = n % size
  carry = jax.lax.fori_loop(
    0, n // size, lambda i, carry: body(i * size, size, carry), carry
  )
  return body(n - rest, rest, carry) if rest else carry


def _inside(entries, start, size):
  """The entries with columns counted from `start`; others get weight 0."""
  column = entries.column - start
  clipped = jnp.clip(column, 0, size - 1)
  weight = jnp.where(column == clipped, entries.weight, 0)
  return entries._replace(column=clipped, weight=weight)


def _cross_entropy(logit, entries, beta, weight):
  """Returns the loss of a block of items, and its gradient by the logits."""
  at = entries.segment, entries.column
  scale = entries.weight * weight[entries.segment]  # [P]
  positive = logit[at]
  every, d_every = _softplus(logit)
  miss, d_miss = _softplus(-positive)
  value = jnp.sum(weight[:, None] * every)
  value += jnp.sum(scale * (beta * miss - positive))
  d_logit = weight[:, None] * d_every
  return value, d_logit.at[at].add(-scale * (beta * d_miss + 1))


def _softplus(x):
  """Softplus and its derivative, the sigmoid, from one exponential."""
  small = jnp.exp(-jnp.abs(x))
  value = jnp.maximum(x, 0) + jnp.log1p(small)
  return value, jnp.where(x >= 0, 1, small) / (1 + small)


def _backward(chunk, gradients, upstream):
  del chunk
  return *(upstream * g for g in gradients), None, None, None


_reconstruction.defvjp(_forward, _backward)
