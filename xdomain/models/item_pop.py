"""ItemPop: recommends the most popular items to every user.

The floor of every ranking (Cremonesi, Koren and Turrin 2010, section 4.1). The
score of an item is the number of target users with a training interaction, the
same for every user, cold-start users included. There is nothing to tune. The
logged loss is the entropy of the items' shares, in nats.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xdomain import base


class Hyper(NamedTuple):
  """No hyper-parameters."""


class Popularity(NamedTuple):
  users: base.Array  # [T] float32, training users of each item


@functools.cache
def model(sizes: base.Sizes) -> base.Model:
  """Returns the popularity model; it has no shape settings."""

  def init(key, data, hyper, previous):
    del key, data, hyper, previous
    return Popularity(jnp.zeros(sizes.target))

  def step(state, visit, data, key, hyper):
    del state, visit, key, hyper
    users = data.target.by_item.length.astype(jnp.float32)
    share = users / jnp.maximum(jnp.sum(users), 1)
    entropy = -jnp.sum(jax.scipy.special.xlogy(share, share))
    return Popularity(users), {'loss': entropy, 'ratings': jnp.sum(users)}

  def predict(state, data):
    del data
    return lambda users, items: state.users[items]

  def predict_all(state, data):
    del data
    return lambda users: jnp.broadcast_to(state.users, (users.shape[0], sizes.target))

  stage = base.Stage(init, base.one_visit, step, predict)
  return base.Model((stage,), predict, predict_all=predict_all, fold_in=base.reads_rows)
