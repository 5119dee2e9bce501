"""CMF: two rating matrices factorised together, with one vector a user.

Singh and Gordon 2008, with identity links over observed ratings. `mean_d` is the
mean rating of domain d, N the number of ratings of both domains:

  yhat_ui = offset * mean_d + <p_u, q_i>
  J       = (alpha SSE_source + (1 - alpha) SSE_target
             + penalty (|P|^2 + |Q_source|^2 + |Q_target|^2)) / N

This is the published loss times 2 / N, so that `penalty` is the published
lambda. The solver 'adam' follows its gradient: a step visits the source ratings
of some users and the target ratings of others, which is unbiased. 'als' makes
Newton steps of length `lr` for users, source items and target items in turn,
with the other two fixed; `lr=1` makes them ridge regressions. It holds one [H, H]
matrix for every row. The logged loss is without the penalty.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xdomain import base, least_squares, stages, wording
from xdomain.ops import losses, sparse

SOLVERS = ('adam', 'als')
BATCH = 64  # rows at a time in 'als', so that [BATCH, H, H] fits a CPU's cache


class Hyper(NamedTuple):
  lr: float = 6e-3  # of Adam, or the length of a Newton step
  alpha: float = 0.5  # weight of the source; the target's is 1 - alpha
  penalty: float = 3.0  # lambda, of sums over ratings
  offset: float = 1.0  # 1 predicts around the training means, 0 as published


class Params(NamedTuple):
  user: base.Array  # P [U, H]
  source: base.Array  # Q_source [S, H]
  target: base.Array  # Q_target [T, H]


@functools.cache
def model(
  sizes: base.Sizes, *, solver: str = 'adam', factors: int = 8, batch: int = 64
) -> base.Model:
  """Returns CMF over both domains.

  Args:
    sizes: numbers of users and items.
    solver: 'adam' or 'als'.
    factors: length of a user's or an item's vector, H.
    batch: users of each domain in a step of 'adam', B.

  Raises:
    ValueError: The solver is unknown.
  """
  if solver not in SOLVERS:
    raise ValueError(f'solver is {solver!r}{wording.instead(solver, SOLVERS)}')

  def init(key, data, hyper, previous):
    del previous
    keys = jax.random.split(key, 3)
    tables = (0.1 * jax.random.normal(k, (n, factors)) for k, n in zip(keys, sizes))
    means = (domain.by_user.mean() for domain in (data.source, data.target))
    return Params(*tables), base.PerDomain(*(hyper.offset * mean for mean in means))

  def epoch(key, data):
    domains = data.source, data.target
    keys = jax.random.split(key)
    return base.PerDomain(*(d.by_user.batches(k, batch) for d, k in zip(domains, keys)))

  make_stage = _adam_stage if solver == 'adam' else _als_stage
  predict = functools.partial(_predict, 'target')
  predict_source = functools.partial(_predict, 'source')
  stage = make_stage(init, epoch)._replace(predict=predict)
  return base.Model((stage,), predict, trained, predict_source)


def trained(data: base.Arrays, users: base.Array, items: base.Array):
  """`[B, K]` whether the item has target ratings and the user any ratings."""
  known = data.target.by_user.length + data.source.by_user.length > 0
  return known[users] & (data.target.by_item.length[items] > 0)


def _predict(domain, state, data):
  del data
  table, level = getattr(state.params, domain), getattr(state.frozen, domain)

  def score(users, items):
    user = state.params.user[users][:, None]  # [B, 1, H]
    return level + jnp.sum(user * table[items], axis=-1)

  return score


def _adam_stage(init, epoch) -> base.Stage:
  """Returns a stage of gradient steps on all parameters."""

  def loss(params, levels, visit, data, key, hyper):
    del key
    value, metrics = data_term(params, levels, visit, data, hyper)
    n = data.source.by_user.n_entries + data.target.by_user.n_entries
    return value + losses.ridge(params, hyper.penalty / n), metrics

  return stages.gradient_stage(init, loss, epoch, name='cmf')


def data_term(
  params: Params, levels: base.Tree, visit: base.Tree, data: base.Arrays, hyper: Hyper
):
  """Returns the weighted squared error per rating of a batch, and metrics."""
  tables, domains = (params.source, params.target), (data.source, data.target)
  (source, n_source), (target, n_target) = (
    _squared_error(params.user, table, level, domain.by_user, ids)
    for table, level, domain, ids in zip(tables, levels, domains, visit)
  )
  n = n_source + n_target
  value = (hyper.alpha * source + (1 - hyper.alpha) * target) / n
  return value, {'mse': target / n_target, 'ratings': n}


def _squared_error(user, table, level, rows, ids):
  """Returns the sum of squared errors of a batch of users, and its expected count."""
  bias = jnp.full(table.shape[0], level, table.dtype)
  sse = sparse.squared_error(user[ids], table, bias, rows.entries(ids))
  return sse, rows.expected(ids)


def _als_stage(init, epoch) -> base.Stage:
  """Returns a stage whose epoch updates users, source items and target items."""

  def start(key, data, hyper, previous):
    return stages.GradientState(*init(key, data, hyper, previous), moments=())

  def once(key, data):
    return jax.tree.map(lambda ids: ids[None], epoch(key, data))

  def step(state, visit, data, key, hyper):
    del key
    params, levels = state.params, state.frozen
    for block in Params._fields:
      params = newton_step(block, params, levels, data, hyper)
    values, metrics = jax.lax.map(
      lambda ids: data_term(params, levels, ids, data, hyper), visit
    )
    return state._replace(params=params), {
      'loss': jnp.mean(values),
      'mse': jnp.mean(metrics['mse']),
      'ratings': jnp.sum(metrics['ratings']),
    }

  return base.Stage(start, once, step, name='cmf als')


def newton_step(
  block: str, params: Params, levels: base.Tree, data: base.Arrays, hyper: Hyper
) -> Params:
  """Moves one block of the parameters, with the other two fixed.

  With `A = penalty I + sum w q q^T` and `b = sum w (y - level) q` over a row's
  ratings, the gradient at p is `A p - b` and the new p is `p + lr (A^-1 b - p)`.
  """
  weights = base.PerDomain(hyper.alpha, 1 - hyper.alpha)
  now = getattr(params, block)
  n_rows, factors = now.shape
  ridge = jnp.maximum(hyper.penalty, 1e-6) * jnp.eye(factors, factors + 1)
  system = jnp.broadcast_to(ridge, (n_rows, *ridge.shape))  # [A | b]
  for domain, rows, table in _terms(block, params, data):
    sums = normal_equations(table, rows, getattr(levels, domain))
    system += getattr(weights, domain) * sums

  best = least_squares.solve(system[:, :, :-1], system[:, :, -1])
  return params._replace(**{block: now + hyper.lr * (best - now)})


def _terms(block, params, data):
  """Returns domain, ratings and vectors of each term that a block is fitted to."""
  if block == 'user':
    return [
      (domain, getattr(data, domain).by_user, getattr(params, domain))
      for domain in base.PerDomain._fields
    ]
  return [(block, getattr(data, block).by_item, params.user)]


def normal_equations(table: base.Array, rows: base.Rows, level: base.Array):
  """`[R, H, H + 1]` sums of `q [q | y - level]` over the ratings of each row."""
  factors = table.shape[1]
  products = (table[:, :, None] * table[:, None]).reshape(-1, factors**2)

  def of(ids):
    entries, n = rows.entries(ids), ids.shape[0]
    ones = entries._replace(value=entries.weight)
    rest = entries._replace(value=entries.value - level)
    left = sparse.gather_sum(products, ones, n).reshape(n, factors, factors)
    right = sparse.gather_sum(table, rest, n)
    return jnp.concatenate([left, right[:, :, None]], axis=2)

  return rows.for_all(of, BATCH)
