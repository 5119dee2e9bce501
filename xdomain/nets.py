"""Networks that several models are made of, as trees of arrays and functions.

The first layer of an encoder and the last of a decoder are tables with a row
for each item, so that sparse rows gather what they need.
"""

import itertools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from xdomain.base import Array
from xdomain.ops import sparse

glorot = nn.initializers.glorot_uniform()


class EmbeddingBag(nn.Module):
  """The first layer over sparse rows: `x W + b` at the cost of the entries.

  Parameters: `table [columns, H]` is W, a row for each column; `bias [H]` is b.

  Attributes:
    columns: the number of columns of the sparse rows.
    width: units, H.
    init: initialises the table; the bias starts at 0.
  """

  columns: int
  width: int
  init: nn.initializers.Initializer = glorot

  @nn.compact
  def __call__(self, entries: sparse.Entries, n_rows: int) -> Array:
    """`[n_rows, H]` pre-activations of a batch of rows.

    Args:
      entries: the observed entries of the batch, weighted by their values.
      n_rows: the number of rows of the batch, static.
    """
    table = self.param('table', self.init, (self.columns, self.width))
    bias = self.param('bias', nn.initializers.zeros, (self.width,))
    return sparse.gather_sum(table, entries, n_rows) + bias


class OutputTable(nn.Module):
  """The last layer, `h V^T + b`, of all columns or of those that are asked for.

  Parameters: `table [columns, H]` is V, a row for each column;
  `bias [columns]` is b.

  Attributes:
    columns: the number of outputs.
    width: units of the layer below, H.
    init: initialises the table; the bias starts at 0.
  """

  columns: int
  width: int
  init: nn.initializers.Initializer = glorot

  def setup(self):
    self.table = self.param('table', self.init, (self.columns, self.width))
    self.bias = self.param('bias', nn.initializers.zeros, (self.columns,))

  def __call__(self, hidden: Array) -> Array:
    """`[B, columns]` outputs of hidden units `[B, H]`."""
    chex.assert_shape(hidden, (None, self.width))
    return hidden @ self.table.T + self.bias

  def at(self, hidden: Array, columns: Array) -> Array:
    """`[...]` outputs of hidden units `[..., H]` at columns `[...]`; they broadcast."""
    chex.assert_axis_dimension(hidden, -1, self.width)
    return jnp.sum(hidden * self.table[columns], axis=-1) + self.bias[columns]

  def squared_error(self, hidden: Array, entries: sparse.Entries, level: Array):
    """The sum over entries of `(level + output - value)^2`, a scalar.

    Args:
      hidden: `[B, H]` hidden units of a batch of rows.
      entries: the observed entries of the batch.
      level: what every output is relative to, a scalar.
    """
    return sparse.squared_error(hidden, self.table, level + self.bias, entries)


def no_entries() -> sparse.Entries:
  """One padded slot: an empty batch to initialise a module with."""
  zero = jnp.zeros(1, jnp.int32)
  return sparse.Entries(zero, zero, jnp.zeros(1), jnp.zeros(1))


class Dense(NamedTuple):
  kernel: Array  # [inputs, outputs]
  bias: Array  # [outputs]

  def __call__(self, x):
    return x @ self.kernel + self.bias


class Encoder(NamedTuple):
  """Items, and what else is known of a user -> a Gaussian over latents."""

  table: Array  # [items, H], the first layer
  bias: Array  # [H]
  hidden: tuple[Dense, ...]
  side: tuple[Dense, ...]  # of the auxiliary vector; empty without
  mean: Dense
  logvar: Dense


class Decoder(NamedTuple):
  """Latents -> a logit for each item."""

  hidden: tuple[Dense, ...]
  table: Array  # [items, H], the output layer
  bias: Array  # [items]


def dense(key, inputs: int, outputs: int) -> Dense:
  """Glorot-uniform kernel, zero bias."""
  return Dense(glorot(key, (inputs, outputs)), jnp.zeros(outputs))


def stack(key, *widths: int) -> tuple[Dense, ...]:
  """Layers from each width to the next."""
  pairs = itertools.pairwise(widths)
  keys = jax.random.split(key, max(1, len(widths) - 1))
  return tuple(dense(k, *pair) for k, pair in zip(keys, pairs))


def through(layers, x):
  """`x` through tanh layers."""
  for layer in layers:
    x = jnp.tanh(layer(x))
  return x


def encoder(key, items: int, hidden, latent: int, side=()) -> Encoder:
  """A fresh encoder.

  Args:
    key: a random key.
    items: of the domain.
    hidden: widths of the hidden layers.
    latent: latents, Z.
    side: width of the auxiliary vector, then of its layers; or empty.
  """
  keys = jax.random.split(key, 5)
  width = hidden[-1] + (side[-1] if side else 0)
  return Encoder(
    glorot(keys[0], (items, hidden[0])),
    jnp.zeros(hidden[0]),
    stack(keys[1], *hidden),
    stack(keys[2], *side),
    dense(keys[3], width, latent),
    dense(keys[4], width, latent),
  )


def encode(params: Encoder, entries, n_rows: int, side=None):
  """Means and log variances, `[n_rows, Z]` each.

  Args:
    params: of the encoder.
    entries: of the users' rows; that there is one counts, not its value.
    n_rows: how many users.
    side: `[n_rows, A]` auxiliary vectors, for an encoder that takes them.
  """
  there = entries._replace(value=entries.weight)
  h = jnp.tanh(sparse.gather_sum(params.table, there, n_rows) + params.bias)
  h = through(params.hidden, h)
  if params.side:
    h = jnp.concatenate([h, through(params.side, side)], axis=1)
  return params.mean(h), params.logvar(h)


def decoder(key, inputs: int, hidden, items: int) -> Decoder:
  """A fresh decoder; `hidden` as of the encoder it mirrors."""
  widths = tuple(reversed(hidden))
  key_hidden, key_out = jax.random.split(key)
  return Decoder(
    stack(key_hidden, inputs, *widths),
    glorot(key_out, (items, widths[-1])),
    jnp.zeros(items),
  )


def sample(key, mean, logvar):
  """Latents from their Gaussians, reparametrised."""
  return mean + jnp.exp(logvar / 2) * jax.random.normal(key, mean.shape)


def scores(decoder: Decoder, hidden):
  """The score of users by the decoder's last hidden layer `[U, H]`."""

  def score(users, items):
    rows = decoder.table[items]  # [B, K, H]
    return jnp.einsum('bh,bkh->bk', hidden[users], rows) + decoder.bias[items]

  return score


def all_scores(decoder: Decoder, hidden):
  """The same of all items, `users [B] -> [B, items]`."""
  return lambda users: hidden[users] @ decoder.table.T + decoder.bias


def present(entries, n_rows: int):
  """`[n_rows]` float32, 1 for the rows that have any entries."""
  counts = jax.ops.segment_sum(
    entries.weight, entries.segment, n_rows, indices_are_sorted=True
  )
  return (counts > 0).astype(entries.weight.dtype)
