"""Ridge regression from a user's source positives to the target's items.

Hoerl and Kennard 1970; Sedhain et al. 2017 use a low-rank form of it for
cold-start users. With `R_S` and `R_T` the 0/1 interactions of the users with
positives in the target:

  B = (R_S^T R_S + penalty I)^-1 R_S^T R_T,   scores of u = r_S,u B

Every user is scored from the source alone, so cold-start users need no special
case. A user without positives in the target is no row of the regression, because
such a user's target preferences are unknown rather than zero. The logged loss is
the minimum of `|R_T - R_S B|^2 + penalty |B|^2` per cell of `R_T`.
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp

from xdomain import base, least_squares


class Hyper(NamedTuple):
  penalty: float = 300.0


class Weights(NamedTuple):
  weight: base.Array  # B [S, T]


@functools.cache
def model(sizes: base.Sizes) -> base.Model:
  """Returns ridge regression from source to target; it has no shape settings.

  Args:
    sizes: numbers of users and items.

  Raises:
    ValueError: A matrix of all pairs of source items would not fit in memory.
  """
  least_squares.check_size('ridge', sizes.source)

  def init(key, data, hyper, previous):
    del key, data, hyper, previous
    return Weights(jnp.zeros((sizes.source, sizes.target)))

  def step(state, visit, data, key, hyper):
    del state, visit, key
    source, target = data.source.by_item, data.target.by_item
    known = data.target.by_user.length > 0
    gram = least_squares.products(source, source, known)
    shared = least_squares.products(source, target)
    weight = (
      least_squares.inverse(gram + hyper.penalty * jnp.eye(sizes.source)) @ shared
    )
    loss = target.n_entries - jnp.sum(shared * weight)
    users = jnp.sum(known, dtype=jnp.float32)
    cells = jnp.maximum(users, 1) * sizes.target
    ratings = jnp.float32(source.n_entries + target.n_entries)
    return Weights(weight), {'loss': loss / cells, 'ratings': ratings}

  def predict_all(state, data):
    return least_squares.of_anybody(state.weight, data.source.by_user)

  def predict(state, data):
    return least_squares.chosen(predict_all(state, data))

  stage = base.Stage(init, base.one_visit, step, predict)
  return base.Model((stage,), predict, predict_all=predict_all, fold_in=base.reads_rows)
