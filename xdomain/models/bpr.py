"""BPR: matrix factorisation that ranks a user's positives above other items.

Rendle et al., UAI 2009, LearnBPR with matrix factorisation:

  s_ui  = <p_u, q_i> + b_i
  x_uij = s_ui - s_uj
  J     = sum over triples of [ -ln sigmoid(x_uij) + r_u/2 |p_u|^2
          + r_i/2 |q_i|^2 + r_j/2 |q_j|^2 + r_b/2 (b_i^2 + b_j^2) ]

As in the paper, an epoch draws as many positives (u, i) as there are, uniformly
with replacement, and j uniformly among the items that are not positives of u.
(Shuffling the positives takes a CPU three times as long as training on them.) A
step sums the gradients of its triples, as if each were a step of its own. It reads
and writes only the rows of its triples and keeps no moments.

The model reads only `data.target`; with `config.view='merged'` that holds both
domains. `negatives_from` can then restrict j to the domain of i: if j came from all
items, a user without target positives would be trained on target items only as
negatives. Users without positives keep a zero vector and are ranked by item biases.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xdomain import base, wording
from xdomain.ops import losses, sampling

BIASES = ('item', 'none')
# The columns whose domain a negative is drawn from, given those of the positives.
NEGATIVES_FROM = {
  'union': lambda column: None,
  'same_domain': lambda column: column,
}


class Hyper(NamedTuple):
  lr: float = 0.05
  penalty_user: float = 0.0025  # r_u
  penalty_item: float = 0.0025  # r_i, of positives
  penalty_negative: float = 0.00025  # r_j
  penalty_bias: float = 0.0  # r_b


class Items(NamedTuple):
  vector: base.Array  # Q [T, H]
  bias: base.Array | None  # b [T]


class Params(NamedTuple):
  user: base.Array  # P [U, H]
  item: Items


class Triples(NamedTuple):
  """Users, a positive and a negative of each; weight 0 if there is no negative."""

  user: base.Array  # [..., B]
  positive: base.Array  # [..., B]
  negative: base.Array  # [..., B]
  weight: base.Array  # [..., B]


@functools.cache
def model(
  sizes: base.Sizes,
  *,
  factors: int = 64,
  bias: str = 'item',
  negatives_from: str = 'union',
  batch: int = 256,
) -> base.Model:
  """BPR on the target domain.

  Args:
    sizes: of the pair.
    factors: length of a user's or an item's vector, H.
    bias: 'item', or 'none' for a pure dot product.
    negatives_from: 'union' for negatives from all items, 'same_domain' for
      negatives from the domain of the positive if domains are merged.
    batch: triples a step, B; the summed gradient overshoots if one user or item
      is in many triples of a step.
  """
  del sizes
  if bias not in BIASES:
    raise ValueError(f'bias is {bias!r}{wording.instead(bias, BIASES)}')
  only = stage(
    domain='target',
    factors=factors,
    bias=bias,
    batch=batch,
    negatives_from=negatives_from,
  )
  return base.Model((only,), only.predict, predict_all=predict_all, target_only=True)


def negatives_like(negatives_from: str):
  """The function in `NEGATIVES_FROM` by its name; a ValueError if unknown."""
  if negatives_from not in NEGATIVES_FROM:
    raise ValueError(
      f'negatives_from is {negatives_from!r}'
      f'{wording.instead(negatives_from, NEGATIVES_FROM)}'
    )
  return NEGATIVES_FROM[negatives_from]


def stage(
  *, domain: str, factors: int, bias: str, batch: int, negatives_from: str = 'union'
) -> base.Stage:
  """BPR on one domain, validated on that domain."""
  like = negatives_like(negatives_from)

  def rows_of(data):
    return getattr(data, domain).by_user

  def init(key, data, hyper, previous):
    del hyper, previous
    return init_params(key, rows_of(data), factors, bias)

  def epoch(key, data):
    return triples(key, rows_of(data), batch, like)

  def predict(params, data):
    del data
    return functools.partial(score, params)

  return base.Stage(init, epoch, step, predict, domain, f'bpr {domain}')


def init_params(key: base.Array, rows: base.Rows, factors: int, bias: str) -> Params:
  """Small random vectors; zeros for users without positives, which keep them."""
  key_user, key_item = jax.random.split(key)
  user = jax.random.normal(key_user, (rows.n_rows, factors))
  item = jax.random.normal(key_item, (rows.n_columns, factors))
  known = rows.length[:, None] > 0
  zeros = jnp.zeros(rows.n_columns) if bias == 'item' else None
  return Params(0.1 * known * user, Items(0.1 * item, zeros))


def triples(
  key: base.Array, rows: base.Rows, batch: int, like: Callable[[base.Array], base.Array]
) -> Triples:
  """`[N, B]` triples of an epoch; `like` is one of `NEGATIVES_FROM`."""
  key_positive, key_negative = jax.random.split(key)
  n = sampling.n_batches(rows.n_entries, batch)
  ids = jax.random.randint(key_positive, (n * batch,), 0, max(1, rows.n_entries))
  events = rows.events(ids)
  negative, possible = rows.negatives(
    key_negative, events.row, like=like(events.column)
  )
  weight = events.weight * possible
  drawn = Triples(events.row, events.column, negative[:, 0], weight)
  return jax.tree.map(lambda x: x.reshape(n, batch), drawn)


def step(
  params: Params, visit: Triples, data: base.Arrays, key: base.Array, hyper: Hyper
):
  """One gradient step on the summed loss of a batch of triples, on their rows only."""
  del data, key
  rows = _gather(params, visit)
  (_, nats), gradients = jax.value_and_grad(_loss, has_aux=True)(
    rows, visit.weight, hyper
  )
  params = _add(params, visit, jax.tree.map(lambda g: -hyper.lr * g, gradients))
  count = jnp.sum(visit.weight)
  return params, {'loss': nats / jnp.maximum(count, 1), 'ratings': count}


def _gather(params, visit):
  """The vectors and biases of a batch: of users, positives and negatives."""

  def items(ids):
    return jax.tree.map(lambda table: table[ids], params.item)

  return params.user[visit.user], items(visit.positive), items(visit.negative)


def _add(params, visit, changes):
  """Adds changes to the rows that `_gather` reads; a row may occur several times."""
  user, positive, negative = changes

  def add(table, first, second):
    return table.at[visit.positive].add(first).at[visit.negative].add(second)

  return Params(
    params.user.at[visit.user].add(user),
    jax.tree.map(add, params.item, positive, negative),
  )


def _loss(rows, weight, hyper):
  """J of a batch, and its first term alone."""
  user, positive, negative = rows
  x = preference(user, positive) - preference(user, negative)
  nats = weight @ jax.nn.softplus(-x)  # -ln sigmoid(x)
  half = 0.5 * weight[:, None]
  penalty = (
    losses.ridge(user, hyper.penalty_user * half)
    + losses.ridge(positive.vector, hyper.penalty_item * half)
    + losses.ridge(negative.vector, hyper.penalty_negative * half)
    + losses.ridge((positive.bias, negative.bias), 0.5 * hyper.penalty_bias * weight)
  )
  return nats + penalty, nats


def preference(user: base.Array, item: Items):
  """Scores `s_ui` of users' and items' rows, which broadcast."""
  product = jnp.sum(user * item.vector, axis=-1)
  return product if item.bias is None else product + item.bias


def score(params: Params, users: base.Array, items: base.Array):
  """`[B, K]` preferences of users `[B]` for items `[B, K]`."""
  rows = jax.tree.map(lambda table: table[items], params.item)
  return preference(params.user[users][:, None], rows)


def predict_all(params: Params, data: base.Arrays):
  """`users [B] -> [B, T]`, scores of all items by a matrix product."""
  del data
  bias = 0 if params.item.bias is None else params.item.bias
  return lambda users: params.user[users] @ params.item.vector.T + bias
