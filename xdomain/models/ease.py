"""EASE: a linear autoencoder whose items may not predict themselves.

Steck 2019, eq. 8. With `X` the 0/1 interactions of the target, or of both domains
in the merged view, `G = X^T X` the number of users that two items share, and
`P = (G + penalty I)^-1`:

  minimise |X - X W|^2 + penalty |W|^2   subject to diag(W) = 0
  W_ij = -P_ij / P_jj off the diagonal,   scores = X W

The minimum is `sum_j (1 / P_jj - penalty)`. It is the logged loss, divided by the
number of cells of `X`.
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp

from xdomain import base, least_squares


class Hyper(NamedTuple):
  penalty: float = 500.0


class Weights(NamedTuple):
  weight: base.Array  # W [T, T]


@functools.cache
def model(sizes: base.Sizes) -> base.Model:
  """Returns EASE of the target domain; it has no shape settings.

  Args:
    sizes: numbers of users and items.

  Raises:
    ValueError: A matrix of all pairs of items would not fit in memory.
  """
  least_squares.check_size('ease', sizes.target)

  def init(key, data, hyper, previous):
    del key, data, hyper, previous
    return Weights(jnp.zeros((sizes.target, sizes.target)))

  def step(state, visit, data, key, hyper):
    del state, visit, key
    rows = data.target.by_item
    itself = jnp.eye(sizes.target, dtype=bool)
    gram = least_squares.products(rows, rows)
    shared = least_squares.inverse(gram + hyper.penalty * itself)
    own = jnp.diag(shared)
    weight = jnp.where(itself, 0, -shared / own)
    loss = jnp.mean(1 / own - hyper.penalty) / sizes.users
    ratings = jnp.float32(rows.n_entries)
    return Weights(weight), {'loss': loss, 'ratings': ratings}

  def predict_all(state, data):
    return least_squares.of_anybody(state.weight, data.target.by_user)

  def predict(state, data):
    return least_squares.chosen(predict_all(state, data))

  stage = base.Stage(init, base.one_visit, step, predict)
  return base.Model(
    (stage,),
    predict,
    predict_all=predict_all,
    target_only=True,
    fold_in=base.reads_rows,
  )
