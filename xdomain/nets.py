"""Flax modules that several methods are made of, applied as pure functions.

`init(module, key, ...)` makes a tree of names, and `apply(module, params, ...)`
computes with one. The first layer of an
encoder and the last of a decoder are tables with a row for each column of the
sparse data: a batch gathers the rows of its entries, and nothing of size rows x
columns is built.
"""

from collections.abc import Callable, Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from xdomain import base, wording
from xdomain.base import Array
from xdomain.ops import sparse, variational

Initializer = nn.initializers.Initializer
Activation = Callable[[Array], Array]
Batch = sparse.Entries | sparse.Cells  # a batch of sparse rows, in either form

zeros = nn.initializers.zeros
glorot = nn.initializers.glorot_uniform()
small = nn.initializers.normal(0.01)
he = nn.initializers.variance_scaling(2.0, 'fan_in', 'normal')


def initializer(name: str) -> Initializer:
  """The distribution of initial weights of a name, 'small' or 'glorot'.

  Raises:
    ValueError: the name is unknown.
  """
  known = {'small': small, 'glorot': glorot}
  if name not in known:
    raise ValueError(f'initial is {name!r}{wording.instead(name, known)}')
  return known[name]


def init(module: nn.Module, key: Array, *args: Any) -> base.Tree:
  """Fresh parameters of a module, a tree of names; `args` as of its `__call__`."""
  return module.init(key, *args)['params']


def apply(
  module: nn.Module,
  params: base.Tree,
  *args: Any,
  method: str | Callable | None = None,
) -> Any:
  """The result of a module's method, `__call__` by default, with these parameters."""
  return module.apply({'params': params}, *args, method=method)


# --- Layers -----------------------------------------------------------------


class EmbeddingBag(nn.Module):
  """The first layer over sparse rows: `x W + b` at the cost of the entries.

  Parameters: `table [columns, H]` is W, a row for each column; `bias [H]` is b.

  Attributes:
    columns: the number of columns of the sparse rows.
    width: units, H.
    kernel_init: initialises the table; the bias starts at 0.
  """

  columns: int
  width: int
  kernel_init: Initializer = glorot

  @nn.compact
  def __call__(self, entries: Batch, n_rows: int) -> Array:
    """`[n_rows, H]` pre-activations of a batch of rows.

    Args:
      entries: the observed entries of the batch, weighted by their values.
      n_rows: the number of rows of the batch, static.
    """
    table = self.param('table', self.kernel_init, (self.columns, self.width))
    bias = self.param('bias', zeros, (self.width,))
    return sparse.gather_sum(table, entries, n_rows) + bias


class OutputTable(nn.Module):
  """The last layer, `h V^T + b`, of all columns or of some.

  Parameters: `table [columns, H]` is V, a row for each column;
  `bias [columns]` is b.

  Attributes:
    columns: the number of outputs.
    width: units of the layer below, H.
    kernel_init: initialises the table; the bias starts at 0.
  """

  columns: int
  width: int
  kernel_init: Initializer = glorot

  def setup(self):
    self.table = self.param('table', self.kernel_init, (self.columns, self.width))
    self.bias = self.param('bias', zeros, (self.columns,))

  def __call__(self, hidden: Array) -> Array:
    """`[B, columns]` outputs of hidden units `[B, H]`."""
    chex.assert_shape(hidden, (None, self.width))
    return hidden @ self.table.T + self.bias

  def at(self, hidden: Array, columns: Array) -> Array:
    """`[...]` outputs of hidden units `[..., H]` at columns `[...]`; they broadcast."""
    chex.assert_axis_dimension(hidden, -1, self.width)
    return jnp.sum(hidden * self.table[columns], axis=-1) + self.bias[columns]

  def squared_error(self, hidden: Array, entries: Batch, level: Array) -> Array:
    """The sum over entries of `(level + output - value)^2`, a scalar.

    Args:
      hidden: `[B, H]` hidden units of a batch of rows.
      entries: the observed entries of the batch.
      level: what every output is relative to, a scalar.
    """
    chex.assert_shape(hidden, (None, self.width))
    return sparse.squared_error(hidden, self.table, level + self.bias, entries)

  def cross_entropy(
    self,
    hidden: Array,
    entries: sparse.Entries,
    beta: Array,
    weight: Array,
    chunk: int | None,
  ) -> Array:
    """The weighted cross entropy of all columns, `variational.reconstruction`."""
    chex.assert_shape(hidden, (None, self.width))
    return variational.reconstruction(
      hidden, self.table, self.bias, entries, beta, weight, chunk=chunk
    )


def hidden_layers(widths: Sequence[int], init: Initializer = glorot) -> list[nn.Dense]:
  """Dense layers of these widths, with zero biases, for a module's `setup`."""
  return [nn.Dense(width, kernel_init=init) for width in widths]


def through(
  layers: Sequence[nn.Module], x: Array, activation: Activation = nn.tanh
) -> Array:
  """`x` through layers, each followed by the activation."""
  for layer in layers:
    x = activation(layer(x))
  return x


class MLP(nn.Module):
  """Hidden layers `hidden_0`, `hidden_1`, ... and a linear layer `output`.

  Attributes:
    widths: of the hidden layers.
    outputs: the number of outputs.
    activation: of the hidden layers.
    kernel_init: initialises the kernels; biases start at 0.
  """

  widths: tuple[int, ...]
  outputs: int
  activation: Activation = nn.tanh
  kernel_init: Initializer = glorot

  def setup(self):
    self.hidden = hidden_layers(self.widths, self.kernel_init)
    self.output = nn.Dense(self.outputs, kernel_init=self.kernel_init)

  def __call__(self, x: Array) -> Array:
    """`[..., outputs]` of inputs `[..., n]`."""
    return self.output(through(self.hidden, x, self.activation))


# --- Autoencoders -----------------------------------------------------------


class Encoder(nn.Module):
  """From a user's interactions to a Gaussian over Z latents.

  `bag` is the first layer, `hidden_0, ...` are the others, `mean` and `logvar`
  the two heads. With an auxiliary vector, its own layers `side_0, ...` join the
  last hidden layer below the heads. All hidden layers are tanh.

  Attributes:
    items: the number of items.
    widths: of the hidden layers, the bag's first.
    latent: latents, Z.
    side_widths: of the layers of the auxiliary vector; empty without one.
  """

  items: int
  widths: tuple[int, ...]
  latent: int
  side_widths: tuple[int, ...] = ()

  def setup(self):
    self.bag = EmbeddingBag(self.items, self.widths[0])
    self.hidden = hidden_layers(self.widths[1:])
    self.side = hidden_layers(self.side_widths)
    self.mean, self.logvar = hidden_layers((self.latent, self.latent))

  def __call__(
    self, entries: sparse.Entries, n_rows: int, side: Array | None = None
  ) -> tuple[Array, Array]:
    """Means and log variances of a batch of users, `[n_rows, Z]` each.

    Args:
      entries: the interactions of the users, weighted by their values.
      n_rows: the number of users, static.
      side: `[n_rows, A]` auxiliary vectors; read only by `side` layers.
    """
    h = through(self.hidden, nn.tanh(self.bag(entries, n_rows)))
    if self.side:
      assert side is not None
      chex.assert_shape(side, (n_rows, None))
      h = jnp.concatenate([h, through(self.side, side)], axis=1)
    return self.mean(h), self.logvar(h)


class Decoder(nn.Module):
  """From latents to a logit for every column.

  `hidden_0, ...` are the hidden layers, `output` is the table of the last.

  Attributes:
    columns: the number of outputs.
    widths: of the hidden layers.
    activation: of the hidden layers.
    kernel_init: initialises kernels and the table; biases start at 0.
    beside: values that the table multiplies after those of the last hidden layer.
  """

  columns: int
  widths: tuple[int, ...]
  activation: Activation = nn.tanh
  kernel_init: Initializer = glorot
  beside: int = 0

  def setup(self):
    self.hidden = hidden_layers(self.widths, self.kernel_init)
    units = self.widths[-1] + self.beside
    self.output = OutputTable(self.columns, units, self.kernel_init)

  def __call__(self, x: Array) -> Array:
    """`[B, columns]` logits of latents `[B, Z]`."""
    return self.output(self.units(x))

  def units(self, x: Array) -> Array:
    """`[B, H]` the last hidden layer, which the output table multiplies."""
    return through(self.hidden, x, self.activation)


class Autoencoder(nn.Module):
  """The `encoder` of one domain, and the `decoder` that mirrors its widths.

  Attributes: as of `Encoder`.
  """

  items: int
  widths: tuple[int, ...]
  latent: int
  side_widths: tuple[int, ...] = ()

  def setup(self):
    self.encoder = Encoder(self.items, self.widths, self.latent, self.side_widths)
    self.decoder = Decoder(self.items, self.widths[::-1])

  def __call__(self, entries, n_rows, side=None) -> Array:
    """`[n_rows, items]` logits of the posterior means; initialises the module."""
    mean, _ = self.encode(entries, n_rows, side)
    return self.decoder(mean)

  def encode(
    self, entries: sparse.Entries, n_rows: int, side: Array | None = None
  ) -> tuple[Array, Array]:
    """Means and log variances, as `Encoder`."""
    return self.encoder(entries, n_rows, side)

  def units(self, z: Array) -> Array:
    """`[B, H]` the decoder's last hidden layer, of what it reads `[B, ...]`."""
    return self.decoder.units(z)

  def cross_entropy(
    self,
    z: Array,
    entries: sparse.Entries,
    beta: Array,
    weight: Array,
    chunk: int | None,
  ) -> Array:
    """The reconstruction of users by what the decoder reads, a scalar."""
    units = self.decoder.units(z)
    return self.decoder.output.cross_entropy(units, entries, beta, weight, chunk)

  def logits(self, units: Array) -> Array:
    """`[B, items]` of the decoder's last hidden layer `[B, H]`."""
    return self.decoder.output(units)

  def logits_at(self, units: Array, items: Array) -> Array:
    """`[...]` of the last hidden layer `[..., H]` at items `[...]`."""
    return self.decoder.output.at(units, items)


def regularised(params: base.Tree) -> base.Tree:
  """The parameters of an autoencoder but for its output layer."""
  decoder = {name: p for name, p in params['decoder'].items() if name != 'output'}
  return params['encoder'], decoder


def sample(key: Array, mean: Array, logvar: Array) -> Array:
  """`[B, Z]` reparametrised draws from Gaussians `[B, Z]`."""
  chex.assert_equal_shape([mean, logvar])
  return mean + jnp.exp(logvar / 2) * jax.random.normal(key, mean.shape)


def scores(network: Autoencoder, params: base.Tree, units: Array) -> base.Score:
  """The score of users by the decoder's last hidden layer `[U, H]`."""
  chex.assert_rank(units, 2)

  def score(users, items):
    hidden = units[users][:, None]  # [B, 1, H]
    return apply(network, params, hidden, items, method='logits_at')

  return score


def all_scores(
  network: Autoencoder, params: base.Tree, units: Array
) -> Callable[[Array], Array]:
  """The same of all items, `users [B] -> [B, items]`."""
  chex.assert_rank(units, 2)
  return lambda users: apply(network, params, units[users], method='logits')


# --- Towers -----------------------------------------------------------------


class PairDense(nn.Module):
  """A dense layer on two vectors side by side: `[p ; q] W + b`.

  Attributes:
    inputs: the length of both vectors together, even.
    width: units, H.
    kernel_init: initialises the kernel `[inputs, H]`; the bias starts at 0.
  """

  inputs: int
  width: int
  kernel_init: Initializer

  def setup(self):
    self.kernel = self.param('kernel', self.kernel_init, (self.inputs, self.width))
    self.bias = self.param('bias', zeros, (self.width,))

  def __call__(self, x: Array) -> Array:
    """`[..., H]` of joined vectors `[..., inputs]`."""
    chex.assert_axis_dimension(x, -1, self.inputs)
    return x @ self.kernel + self.bias

  def halves(self) -> tuple[Array, Array]:
    """The kernels of both vectors, `[inputs / 2, H]` each."""
    of_first, of_second = jnp.split(self.kernel, 2)
    return of_first, of_second


class Tower(nn.Module):
  """Relu layers on a user's and an item's embedding side by side.

  Parameters: `item [items, embed]`, the layers `hidden_0, ...` and `output`.
  The table of users stands outside, because towers may share it. The first
  layer is `p_u W_p + q_i W_q`, so that a user's half serves all items.

  Attributes:
    items: the number of items.
    embed: the length of an embedding.
    widths: of the hidden layers.
    outputs: the number of outputs.
    kernel_init: initialises the hidden kernels; biases start at 0.
    output_init: initialises the output's kernel.
  """

  items: int
  embed: int
  widths: tuple[int, ...]
  outputs: int
  kernel_init: Initializer
  output_init: Initializer

  def setup(self):
    self.item = self.param('item', small, (self.items, self.embed))
    self.hidden = [
      PairDense(2 * self.embed, self.widths[0], self.kernel_init),
      *hidden_layers(self.widths[1:], self.kernel_init),
    ]
    self.output = nn.Dense(self.outputs, kernel_init=self.output_init)

  def __call__(self, user: Array, users: Array, items: Array) -> Array:
    """`[B, K, outputs]` of users `[B]` of a table `[U, embed]`, items `[B, K]`."""
    chex.assert_axis_dimension(user, 1, self.embed)
    chex.assert_rank([users, items], [1, 2])
    of_user, of_item = self.hidden[0].halves()
    p = _rows_times(user, of_user, users)
    q = _rows_times(self.item, of_item, items.reshape(-1))
    return self.of_halves(p[:, None], q.reshape(*items.shape, -1))

  def halves(self, user: Array) -> tuple[Array, Array]:
    """The first layer of every user `[U, H]` and of every item `[items, H]`."""
    chex.assert_shape(user, (None, self.embed))
    of_user, of_item = self.hidden[0].halves()
    return user @ of_user, self.item @ of_item

  def of_halves(self, p: Array, q: Array) -> Array:
    """`[..., outputs]` of both halves of the first layer, which broadcast."""
    for half in (p, q):
      chex.assert_axis_dimension(half, -1, self.widths[0])
    z = p + q + self.hidden[0].bias  # [..., H]
    # Flat: a CPU's gradient of a kernel takes three times as long over two axes.
    a = nn.relu(z.reshape(-1, z.shape[-1]))
    outputs = self.output(through(self.hidden[1:], a, nn.relu))
    return outputs.reshape(*z.shape[:-1], -1)


def _rows_times(table, kernel, ids):
  """`table[ids] @ kernel`, of whichever has fewer rows."""
  if ids.size < table.shape[0]:
    return table[ids] @ kernel
  return (table @ kernel)[ids]


def only(outputs: Array) -> Array:
  """`[...]` of a network with one output, `[..., 1]`."""
  chex.assert_axis_dimension(outputs, -1, 1)
  return outputs[..., 0]


def tower_scores(
  tower: Tower, params: base.Tree, user: Array, read: Activation
) -> base.Score:
  """The score by a tower, for all users' rows `[U, embed]`.

  Args:
    tower: the module.
    params: of the tower.
    user: the table of users.
    read: turns outputs `[..., outputs]` into scores `[...]`.
  """
  p, q = apply(tower, params, user, method='halves')

  def score(users, items):
    halves = p[users][:, None], q[items]
    return read(apply(tower, params, *halves, method='of_halves'))

  return score


def all_tower_scores(
  tower: Tower, params: base.Tree, user: Array, read: Activation, batch: int = 16
) -> Callable[[Array], Array]:
  """The same of all items, `users [B] -> [B, items]`.

  `batch` is how many users' hidden layers of all items are held at a time.
  """
  p, q = apply(tower, params, user, method='halves')

  def of_user(one):
    return read(apply(tower, params, p[one], q, method='of_halves'))

  return lambda users: jax.lax.map(of_user, users, batch_size=batch)


# --- Batches ----------------------------------------------------------------


def no_entries() -> sparse.Entries:
  """One padded slot: an empty batch to initialise a module with."""
  zero = jnp.zeros(1, jnp.int32)
  return sparse.Entries(zero, zero, jnp.zeros(1), jnp.zeros(1))


def indicators(entries: sparse.Entries) -> sparse.Entries:
  """The entries with 1 for every value: a 0/1 row of what was interacted with."""
  return entries._replace(value=entries.weight)


def present(entries: sparse.Entries, n_rows: int) -> Array:
  """`[n_rows]` float32, 1 for the rows that have any entries."""
  return (counts(entries, n_rows) > 0).astype(entries.weight.dtype)


def counts(entries: sparse.Entries, n_rows: int) -> Array:
  """`[n_rows]` how many entries each row has, as floats."""
  chex.assert_rank([entries.weight, entries.segment], 1)
  chex.assert_equal_shape(entries)
  return jax.ops.segment_sum(
    entries.weight, entries.segment, n_rows, indices_are_sorted=True
  )
