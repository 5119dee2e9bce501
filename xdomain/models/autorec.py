"""AutoRec: an autoencoder over the observed ratings of a user or of an item.

Sedhain et al. 2015; DARec (Yuan et al. 2019), eq. 1-2. With rows `r` the users
(U-AutoRec) or the items (I-AutoRec) of the target domain, columns the others:

  h_r     = sigmoid(b1 + sum_{c observed} y_rc W1[c])
  yhat_rc = offset * mean + <h_r, W2[c]> + b2[c]
  J       = SSE / N + alpha (|W1|^2 + |W2|^2 + penalise_bias (|b1|^2 + |b2|^2))

The data term is per observed rating, so that `alpha` means the same for every
batch size and data set; DARec's and AutoRec's sums over ratings are N times
this. DARec's eq. 2 penalises the biases, AutoRec does not. The loss that is
logged is the data term alone.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xdomain import base, stages
from xdomain.ops import losses, sparse


class Hyper(NamedTuple):
  lr: float = 1e-3
  alpha: float = 1e-4  # eq. 2, per observed rating
  offset: float = 1.0  # 1 predicts around the training mean, 0 as published
  penalise_bias: float = 1.0  # 1 as DARec's eq. 2, 0 as AutoRec


class Params(NamedTuple):
  encode: base.Array  # W1 [columns, H]
  hidden: base.Array  # b1 [H]
  decode: base.Array  # W2 [columns, H]
  output: base.Array  # b2 [columns]


@functools.cache
def model(
  sizes: base.Sizes, *, axis: str = 'item', embed: int = 500, batch: int = 128
) -> base.Model:
  """AutoRec on the target domain.

  Args:
    sizes: of the pair.
    axis: 'user' for U-AutoRec, 'item' for I-AutoRec.
    embed: hidden units, H.
    batch: rows a step, B.
  """
  del sizes
  base.check_axis(axis)
  only = stage(axis=axis, domain='target', embed=embed, batch=batch)
  trained = functools.partial(base.column_trained, axis)
  return base.Model((only,), only.predict, trained, target_only=True)


def stage(*, axis, domain, embed, batch) -> base.Stage:
  """AutoRec on one domain, selected on that domain's validation ratings."""

  def rows_of(data):
    return getattr(data, domain).along(axis)

  def init(key, data, hyper, previous):
    del previous
    rows = rows_of(data)
    key_in, key_out = jax.random.split(key)
    params = Params(
      0.01 * jax.random.normal(key_in, (rows.n_columns, embed)),
      jnp.zeros(embed),
      0.01 * jax.random.normal(key_out, (rows.n_columns, embed)),
      jnp.zeros(rows.n_columns),
    )
    return params, hyper.offset * rows.mean()

  def epoch(key, data):
    return rows_of(data).batches(key, batch)

  def loss(params, level, visit, data, key, hyper):
    del key
    rows = rows_of(data)
    entries = rows.entries(visit)
    hidden = encode(params, entries, visit.shape[0])
    count = rows.expected(visit)
    bias = level + params.output
    sse = sparse.squared_error(hidden, params.decode, bias, entries)
    mse = sse / count
    return mse + _penalty(params, hyper), {'mse': mse, 'ratings': count}

  def predict(params, level, data):
    hidden = encode_all(params, rows_of(data))

    def rate(row, column):
      product = jnp.sum(hidden[row] * params.decode[column], axis=-1)
      return level + params.output[column] + product

    return base.oriented(axis, rate)

  return stages.gradient_stage(
    init, loss, epoch, predict=predict, domain=domain, name=f'autorec {domain}'
  )


def encode(params, entries, n_rows):
  """`[n_rows, H]` embeddings of the rows of a batch, eq. 1."""
  return jax.nn.sigmoid(
    params.hidden + sparse.gather_sum(params.encode, entries, n_rows)
  )


def encode_all(params, rows):
  """`[R, H]` embeddings of all rows; `sigmoid(b1)` for one without ratings."""
  return rows.for_all(lambda ids: encode(params, rows.entries(ids), ids.shape[0]))


def _penalty(params, hyper):
  biases = hyper.alpha * hyper.penalise_bias
  return losses.ridge((params.encode, params.decode), hyper.alpha) + losses.ridge(
    (params.hidden, params.output), biases
  )
