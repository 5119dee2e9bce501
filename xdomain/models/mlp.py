"""MLP: a network that reads a user's and an item's embedding side by side.

He, Liao, Zhang, Nie, Hu and Chua, WWW 2017 ("Neural collaborative filtering"),
section 3.3, for 0/1 interactions:

  a    = [p_u ; q_i]
  a   <- relu(a W_l + b_l)
  l_ui = <a, w> + b

  J = mean over (u, i, y) of [ log(1 + exp l_ui) - y l_ui ] + l2 (|P|^2 + |Q|^2)

over each interaction of the training data, `y = 1`, and `negatives` items drawn
for it from those that the user has not interacted with, `y = 0`, anew in every
step. The paper's `l2` is 0. With `config.view='merged'` the method reads both
domains as one.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn

from xdomain import base, nets, stages
from xdomain.models import bpr
from xdomain.ops import losses


class Hyper(NamedTuple):
  lr: float = 1e-3
  l2: float = 0.0  # of the two tables


class MLP(nn.Module):
  """The table `user [U, embed]` and the `tower`, whose `item` is the other table.

  Initialised as by the authors: tables N(0, .01^2), layers by Glorot's rule,
  the output by LeCun's, biases 0.
  """

  users: int
  items: int
  embed: int
  widths: tuple[int, ...]

  def setup(self):
    self.user = self.param('user', nets.small, (self.users, self.embed))
    self.tower = tower(self.items, self.embed, self.widths)

  def __call__(self, users, items):
    """`[B, K]` logits of users `[B]` and items `[B, K]`."""
    return nets.only(self.tower(self.user, users, items))


def tower(items: int, embed: int, widths: tuple[int, ...]) -> nets.Tower:
  """The network above the tables."""
  lecun = nn.initializers.lecun_uniform()
  return nets.Tower(items, embed, widths, 1, nets.glorot, lecun)


@functools.cache
def model(
  sizes: base.Sizes,
  *,
  embed: int = 32,
  layers: tuple[int, ...] = (32, 16, 8),
  negatives: int = 4,
  negatives_from: str = 'union',
  batch: int = 256,
) -> base.Model:
  """NCF's MLP on the target domain.

  Args:
    sizes: of the pair.
    embed: width of the tables; the network's input is twice as wide.
    layers: widths of its layers.
    negatives: items drawn for each positive.
    negatives_from: as in BPR.
    batch: positives a step; the paper's 128 examples are some 26.
  """
  like = bpr.negatives_like(negatives_from)
  network = MLP(sizes.users, sizes.target, embed, tuple(layers))

  def init(key, data, hyper, previous):
    del data, hyper, previous
    first = jnp.zeros(1, int)
    return nets.init(network, key, first, first[:, None]), ()

  def epoch(key, data):
    return data.target.by_user.shuffled(key, batch)

  def loss(params, frozen, visit, data, key, hyper):
    del frozen
    rows = data.target.by_user
    events = rows.events(visit)
    items, exists = candidates(key, rows, events, negatives, like)
    value = cross_entropy(
      nets.apply(network, params, events.row, items),
      jnp.arange(negatives + 1) == 0,
      events.weight[:, None] * exists,
    )
    penalty = losses.ridge((params['user'], params['tower']['item']), hyper.l2)
    return value + penalty, {'ratings': jnp.sum(events.weight)}

  def scored(scores, state, data):
    del data
    above = tower(sizes.target, embed, tuple(layers))
    return scores(above, state.params['tower'], state.params['user'], nets.only)

  predict = functools.partial(scored, nets.tower_scores)
  predict_all = functools.partial(scored, nets.all_tower_scores)

  stage = stages.gradient_stage(init, loss, epoch, predict=predict)
  return base.Model((stage,), stage.predict, predict_all=predict_all, target_only=True)


def candidates(
  key: base.Array,
  rows: base.Rows,
  events: base.Events,
  negatives: int,
  like: Callable[[base.Array], base.Array],
):
  """Items of events, then items that their users lack, and which of them exist.

  Returns:
    `[B, 1 + negatives]` items, and as many bools.
  """
  absent, any_ = rows.negatives(key, events.row, negatives, like(events.column))
  first = jnp.arange(1 + negatives) == 0
  items = jnp.concatenate([events.column[:, None], absent], axis=1)
  return items, first | any_[:, None]


def cross_entropy(
  logits: base.Array, label: base.Array, weight: base.Array
) -> base.Array:
  """The mean over examples; label and weight broadcast against logits."""
  each = weight * losses.binary_cross_entropy(logits, label)
  count = jnp.sum(jnp.broadcast_to(weight, each.shape))
  return jnp.sum(each) / jnp.maximum(count, 1)
