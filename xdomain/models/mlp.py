"""MLP: a network that reads a user's and an item's embedding side by side.

He, Liao, Zhang, Nie, Hu and Chua, WWW 2017 ("Neural collaborative filtering"),
section 3.3, for what people like:

  a    = [p_u ; q_i]
  a   <- relu(a W_l + b_l)
  l_ui = <a, w> + b

  J = mean over (u, i, y) of [ log(1 + exp l_ui) - y l_ui ] + l2 (|P|^2 + |Q|^2)

over each event of the training data, `y = 1`, and `negatives` items drawn for
it from those that the user has no event with, `y = 0`, anew in every step. The
paper's `l2` is 0.

The first layer is `p_u W_p + q_i W_q`, so a user's half is computed once for
all items. `config.view` 'merged' gives it both domains as one.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xdomain import base, nets, stages
from xdomain.models import bpr
from xdomain.ops import losses

USERS = 16  # whose scores of all items are in memory at a time


class Hyper(NamedTuple):
  lr: float = 1e-3
  l2: float = 0.0  # of the two tables


class Params(NamedTuple):
  user: base.Array  # P [U, embed]
  item: base.Array  # Q [items, embed]
  layers: tuple[nets.Dense, ...]  # the first takes [2 embed]
  output: nets.Dense  # w [H], b []


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
    negatives: drawn for each positive.
    negatives_from: as in BPR.
    batch: positives a step; the paper's 128 examples are some 26.
  """

  like = bpr.negatives_like(negatives_from)

  def init(key, data, hyper, previous):
    del data, hyper, previous
    return init_params(key, sizes, embed, layers), ()

  def epoch(key, data):
    return data.target.by_user.shuffled(key, batch)

  def loss(params, frozen, visit, data, key, hyper):
    del frozen
    rows = data.target.by_user
    events = rows.events(visit)
    items, there = candidates(key, rows, events, negatives, like)
    value = cross_entropy(
      logits(params, events.row, items),
      jnp.arange(negatives + 1) == 0,
      events.weight[:, None] * there,
    )
    penalty = losses.ridge((params.user, params.item), hyper.l2)
    return value + penalty, {'ratings': jnp.sum(events.weight)}

  def predict(state, data):
    del data
    return scores(state.params)

  stage = stages.gradient_stage(init, loss, epoch, predict=predict)
  return base.Model(
    (stage,),
    stage.predict,
    predict_all=lambda state, data: all_scores(state.params),
    target_only=True,
  )


def init_params(key, sizes, embed, layers) -> Params:
  """As the authors': N(0, .01^2) tables, Glorot layers, LeCun's output."""
  user, item, hidden, output = jax.random.split(key, 4)
  bound = jnp.sqrt(3 / layers[-1])
  kernel = jax.random.uniform(output, layers[-1:], minval=-bound, maxval=bound)
  return Params(
    0.01 * jax.random.normal(user, (sizes.users, embed)),
    0.01 * jax.random.normal(item, (sizes.target, embed)),
    nets.stack(hidden, 2 * embed, *layers),
    nets.Dense(kernel, jnp.zeros(())),
  )


def candidates(key, rows, events, negatives, like):
  """Items of events, then some that their users lack, and whether they do.

  Returns:
    `[B, 1 + negatives]` items, and as many bools.
  """
  absent, any_ = rows.negatives(key, events.row, negatives, like(events.column))
  first = jnp.arange(1 + negatives) == 0
  items = jnp.concatenate([events.column[:, None], absent], axis=1)
  return items, first | any_[:, None]


def cross_entropy(logits, label, weight):
  """The mean over examples; label and weight broadcast against logits."""
  each = weight * losses.binary_cross_entropy(logits, label)
  count = jnp.sum(jnp.broadcast_to(weight, each.shape))
  return jnp.sum(each) / jnp.maximum(count, 1)


def logits(params: Params, users, items):
  """`[B, K]` of users `[B]` and items `[B, K]`."""
  of_user, of_item = jnp.split(params.layers[0].kernel, 2)
  user = _times(params.user, of_user, users)
  item = _times(params.item, of_item, items.reshape(-1))
  return _through(params, user[:, None], item.reshape(*items.shape, -1))


def _times(table, kernel, ids):
  """`table[ids] @ kernel`, of whichever has fewer rows."""
  if ids.size < table.shape[0]:
    return table[ids] @ kernel
  return (table @ kernel)[ids]


def _through(params, user, item):
  """Logits of both halves of the first layer, which broadcast."""
  z = user + item + params.layers[0].bias  # [..., H]
  # Flat: a CPU's gradient of a kernel takes three times as long over two axes.
  a = jax.nn.relu(z.reshape(-1, z.shape[-1]))
  for layer in params.layers[1:]:
    a = jax.nn.relu(layer(a))
  return params.output(a).reshape(z.shape[:-1])


def _halves(params):
  """The first layer of every user `[U, H]` and of every item `[items, H]`."""
  of_user, of_item = jnp.split(params.layers[0].kernel, 2)
  return params.user @ of_user, params.item @ of_item


def scores(params: Params) -> base.Score:
  """What `predict` returns."""
  user, item = _halves(params)
  return lambda users, items: _through(params, user[users][:, None], item[items])


def all_scores(params: Params):
  """The same of all items, `users [B] -> [B, items]`."""
  user, item = _halves(params)

  def of(one):
    return _through(params, user[one], item)

  return lambda users: jax.lax.map(of, users, batch_size=USERS)
