"""Matrix factorisation with biases; with implicit feedback, SVD++.

Koren, Bell and Volinsky 2009, eq. 4-5; `SVD` of the library Surprise. With
`feedback='implicit'`, a user's vector also sums one vector for each item rated
(Koren 2008, eq. 15). With I_u the n_u rated items of a user, n_i ratings of an item:

  h_u     = p_u,  or  p_u + n_u^-1/2 sum_{j in I_u} y_j
  yhat_ui = mean + b_u + b_i + <h_u, q_i>
  J       = SSE / N
            + penalty / N (sum_u n_u |p_u|^2 + sum_i n_i (|q_i|^2 + |y_i|^2))
            + penalty_bias / N (sum_u n_u b_u^2 + sum_i n_i b_i^2)

The penalty applies once per rating to its user and its item, as published, and once
to the y of its item, where Koren applies it to all y of I_u. The logged loss is
without the penalties.

By 'adam', a step visits all ratings of a batch of users, so that each user's sum is
formed once, and Adam passes over all tables. By 'sgd', for explicit feedback, a step
follows the gradient of N J / 2 of a batch of ratings, and only their rows change: plain
stochastic gradient descent in batches, at the same rates and penalties as Surprise's.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xdomain import base, stages, wording
from xdomain.ops import losses, sparse

FEEDBACK = ('explicit', 'implicit')
SOLVERS = ('adam', 'sgd')


class Hyper(NamedTuple):
  lr: float = 3e-3
  penalty: float = 0.08  # of the vectors
  penalty_bias: float = 0.01  # of the biases


class Params(NamedTuple):
  user: base.Array  # P [U, H]
  item: base.Array  # Q [T, H]
  user_bias: base.Array  # [U]
  item_bias: base.Array  # [T]
  rated: base.Array | None = None  # Y [T, H]


@functools.cache
def model(
  sizes: base.Sizes,
  *,
  feedback: str = 'explicit',
  factors: int = 64,
  batch: int = 64,
  solver: str = 'adam',
) -> base.Model:
  """Biased matrix factorisation of the target domain.

  Args:
    sizes: of the pair.
    feedback: 'explicit', or 'implicit' for SVD++.
    factors: length of a user's or an item's vector, H.
    batch: users a step, B; ratings a step by 'sgd'.
    solver: 'adam', or 'sgd' for steps on the rows of a batch of ratings.
  """
  if feedback not in FEEDBACK:
    raise ValueError(f'feedback is {feedback!r}{wording.instead(feedback, FEEDBACK)}')
  if solver not in SOLVERS:
    raise ValueError(f'solver is {solver!r}{wording.instead(solver, SOLVERS)}')
  if (feedback, solver) == ('implicit', 'sgd'):
    raise ValueError(
      "solver is 'sgd', which is of explicit feedback: with implicit feedback a rating"
      " reads the vectors of all items that its user rated; use 'adam'"
    )

  def init(key, data, hyper, previous):
    del hyper, previous
    keys = jax.random.split(key)
    rows = data.target.by_user, data.target.by_item
    user, item = (_vectors(k, r, factors) for k, r in zip(keys, rows))
    params = Params(user, item, jnp.zeros(sizes.users), jnp.zeros(sizes.target))
    if feedback == 'implicit':
      params = params._replace(rated=jnp.zeros_like(item))
    return params, data.target.by_user.mean()

  def epoch(key, data):
    return data.target.by_user.batches(key, batch)

  def loss(params, level, visit, data, key, hyper):
    del key
    rows = data.target.by_user
    entries = rows.entries(visit)
    count = rows.expected(visit)
    # <(h, b_u), (q, 1)> = <h, q> + b_u
    users = _users(params, rows, visit, entries)
    users = _append(users, params.user_bias[visit])
    items = _append(params.item, jnp.ones(sizes.target))
    bias = level + params.item_bias
    mse = sparse.squared_error(users, items, bias, entries) / count
    penalty = _penalty(params, data.target, hyper)
    return mse + penalty, {'mse': mse, 'ratings': count}

  def predict(state, data):
    params, level = state.params, state.frozen
    rows = data.target.by_user
    hidden = rows.for_all(
      lambda ids: _users(params, rows, ids, rows.entries(ids))
    )  # [U, H]

    def score(users, items):
      product = jnp.sum(hidden[users][:, None] * params.item[items], axis=-1)
      bias = params.user_bias[users][:, None] + params.item_bias[items]
      return level + bias + product

    return score

  if solver == 'sgd':
    stage = stages.rating_stage(
      init,
      lambda events: Params(events.row, events.column, events.row, events.column),
      _loss_of_ratings,
      batch,
      predict=predict,
      name='biased_mf',
    )
  else:
    stage = stages.gradient_stage(init, loss, epoch, predict=predict, name='biased_mf')
  return base.Model((stage,), stage.predict, target_only=True)


def _loss_of_ratings(rows, level, events, hyper):
  """N J / 2 of some ratings, `rows` their parameters, and the sum of squared errors."""
  user, item, user_bias, item_bias, _ = rows
  rated = level + user_bias + item_bias + jnp.sum(user * item, axis=-1)
  squares = jnp.sum(events.weight * (rated - events.value) ** 2)
  penalty = losses.ridge((user, item), hyper.penalty * events.weight[:, None])
  biases = user_bias, item_bias
  penalty += losses.ridge(biases, hyper.penalty_bias * events.weight)
  return (squares + penalty) / 2, squares


def _vectors(key, rows, factors):
  """`[R, H]` small random vectors; zeros, which remain, for rows without ratings."""
  known = rows.length[:, None] > 0
  return 0.1 * known * jax.random.normal(key, (rows.n_rows, factors))


def _users(params, rows, ids, entries):
  """`[B, H]` vectors h of a batch of users, given its entries."""
  vectors = params.user[ids]
  if params.rated is None:
    return vectors
  scale = jax.lax.rsqrt(jnp.maximum(rows.length[ids], 1.0))
  entries = entries._replace(value=scale[entries.segment])
  return vectors + sparse.gather_sum(params.rated, entries, ids.shape[0])


def _append(table, column):
  """`[n, H + 1]` a table with one more column."""
  return jnp.concatenate([table, column[:, None]], axis=1)


def _penalty(params, domain, hyper):
  """The penalty of all parameters, each in proportion to its ratings."""
  per_user, per_item = (
    rows.length / rows.n_entries for rows in (domain.by_user, domain.by_item)
  )

  items = params.item, params.rated
  return (
    losses.ridge(params.user, hyper.penalty * per_user[:, None])
    + losses.ridge(items, hyper.penalty * per_item[:, None])
    + losses.ridge(params.user_bias, hyper.penalty_bias * per_user)
    + losses.ridge(params.item_bias, hyper.penalty_bias * per_item)
  )
