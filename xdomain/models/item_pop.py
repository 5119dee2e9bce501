"""ItemPop: what most people have is what everybody is told.

The floor of every ranking (Cremonesi, Koren and Turrin 2010, section 4.1;
ranking.md 5.1): the score of an item is the number of target users with it in
training, the same for all who ask, whether they are new or not. It has nothing
to choose. The loss that is logged is the entropy of the items' popularity, in
nats.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xdomain import base


class Hyper(NamedTuple):
  """There are none."""


class Popularity(NamedTuple):
  users: base.Array  # [T] float32, training users of each item


@functools.cache
def model(sizes: base.Sizes) -> base.Model:
  """The popularity model; it has no settings."""

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
  return base.Model((stage,), predict, predict_all=predict_all)
