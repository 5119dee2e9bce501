"""AutoRec: an autoencoder over the observed ratings of a user or of an item.

Sedhain, Menon, Sanner and Xie, WWW 2015; the form is that of DARec (Yuan, Yao
and Benatallah, IJCAI 2019), eq. 1-2. The rows `r` are the users (U-AutoRec) or
the items (I-AutoRec) of the target domain, and the columns `c` are the others:

  h_r     = sigmoid(b1 + sum_{c observed} y_rc W1[c])
  yhat_rc = offset * mean + <h_r, W2[c]> + b2[c]
  J       = SSE / N + alpha (|W1|^2 + |W2|^2 + penalise_bias (|b1|^2 + |b2|^2))

Departures: the data term is a mean over the N observed ratings, so that one
`alpha` suits every batch size and data set (the papers sum over ratings, which
is N times this J). DARec's eq. 2 penalises the biases and AutoRec does not:
`penalise_bias` is 1 or 0. Both papers predict around 0; `offset=1` predicts
around the mean rating. The logged loss is the data term alone.
"""

import functools
from typing import NamedTuple

import jax
from flax import linen as nn

from xdomain import base, nets, stages
from xdomain.ops import losses


class Hyper(NamedTuple):
  lr: float = 1e-3
  alpha: float = 1e-4  # eq. 2, per observed rating
  offset: float = 1.0  # 1 predicts around the training mean, 0 as published
  penalise_bias: float = 1.0  # 1 as DARec's eq. 2, 0 as AutoRec


class AutoRec(nn.Module):
  """The two layers; `encoder` holds W1 and b1, `decoder` holds W2 and b2."""

  columns: int
  embed: int
  kernel_init: nets.Initializer = nets.small

  def setup(self):
    self.encoder = nets.EmbeddingBag(self.columns, self.embed, self.kernel_init)
    self.decoder = nets.OutputTable(self.columns, self.embed, self.kernel_init)

  def __call__(self, entries: nets.Batch, n_rows: int, level):
    """The squared error of a batch of rows, summed over its entries."""
    hidden = self.encode(entries, n_rows)
    return self.decoder.squared_error(hidden, entries, level)

  def encode(self, entries: nets.Batch, n_rows: int):
    """`[n_rows, H]` embeddings h of the rows of a batch."""
    return nn.sigmoid(self.encoder(entries, n_rows))

  def rate(self, hidden: base.Array, columns: base.Array):
    """`[...]` predictions relative to the level, of `h [..., H]` at columns."""
    return self.decoder.at(hidden, columns)


@functools.cache
def model(
  sizes: base.Sizes,
  *,
  axis: str = 'item',
  embed: int = 500,
  batch: int = 128,
  initial: str = 'small',
) -> base.Model:
  """AutoRec on the target domain.

  Args:
    sizes: of the pair.
    axis: 'user' for U-AutoRec, 'item' for I-AutoRec.
    embed: hidden units, H.
    batch: rows a step, B.
    initial: distribution of the initial weights, 'small' (normal, deviation .01) or
      'glorot' (uniform, Glorot and Bengio 2010).
  """
  base.check_axis(axis)
  only = stage(
    sizes, axis=axis, domain='target', embed=embed, batch=batch, initial=initial
  )
  trained = functools.partial(base.column_trained, axis)
  fold_in = base.reads_rows if axis == 'user' else None
  return base.Model((only,), only.predict, trained, target_only=True, fold_in=fold_in)


def stage(
  sizes: base.Sizes,
  *,
  axis: str,
  domain: str,
  embed: int,
  batch: int,
  initial: str = 'small',
) -> base.Stage:
  """AutoRec on one domain, selected on that domain's validation ratings."""
  columns = getattr(sizes, domain) if axis == 'user' else sizes.users
  network = AutoRec(columns, embed, nets.initializer(initial))

  def rows_of(data):
    return getattr(data, domain).along(axis)

  def init(key, data, hyper, previous):
    del previous
    params = nets.init(network, key, nets.no_entries(), 1, 0.0)
    return params, hyper.offset * rows_of(data).mean()

  def epoch(key, data):
    return rows_of(data).batches(key, batch)

  def loss(params, level, visit, data, key, hyper):
    del key
    rows = rows_of(data)
    sse = nets.apply(network, params, rows.observed(visit), visit.size, level)
    count = rows.expected(visit)
    mse = sse / count
    return mse + _penalty(params, hyper), {'mse': mse, 'ratings': count}

  def predict(state, data):
    params, level = state.params, state.frozen
    hidden = encode_all(params, rows_of(data))

    def rate(row, column):
      rating = nets.apply(network, params, hidden[row], column, method='rate')
      return level + rating

    return base.oriented(axis, rate)

  return stages.gradient_stage(
    init, loss, epoch, predict=predict, domain=domain, name=f'autorec {domain}'
  )


def encode(
  params: base.Tree,
  rows: base.Rows,
  ids: base.Array,
  *,
  key: base.Array | None = None,
  dropped: float = 0.0,
) -> base.Array:
  """`[B, H]` embeddings of rows `ids [B]`; `sigmoid(b1)` for an empty row.

  Args:
    params: of the AutoRec.
    rows: the ratings.
    ids: `[B]`.
    key: chooses the ratings that are left out.
    dropped: their share; the others weigh as much more.
  """
  network = AutoRec(*params['encoder']['table'].shape)
  entries = rows.observed(ids)
  if key is not None:
    kept = jax.random.bernoulli(key, 1 - dropped, entries.value.shape)
    entries = entries._replace(value=entries.value * kept / (1 - dropped))
  return nets.apply(network, params, entries, ids.size, method='encode')


def encode_all(params: base.Tree, rows: base.Rows) -> base.Array:
  """`[R, H]` embeddings of all rows."""
  return rows.for_all(functools.partial(encode, params, rows))


def _penalty(params, hyper):
  layers = params.values()
  tables = [layer['table'] for layer in layers]
  biases = [layer['bias'] for layer in layers]
  of_biases = hyper.alpha * hyper.penalise_bias
  return losses.ridge(tables, hyper.alpha) + losses.ridge(biases, of_biases)
