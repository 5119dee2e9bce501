"""Implicit ALS: factors of all cells, with more confidence in positives.

Hu, Koren and Volinsky 2008, eq. 3-5, on the 0/1 interactions of the target, or
of both domains merged (`config.view='merged'`). With `n_u` and `n_i` positives of
a user and of an item:

  J = sum over all cells of (1 + alpha r_ui) (r_ui - <p_u, q_i>)^2
      + penalty (sum n_u^frequency |p_u|^2 + sum n_i^frequency |q_i|^2)

Zeros are never visited: all squared scores sum to `tr(P^T P Q^T Q)`. A frequency of
0 is the paper's penalty, 1 that of Zhou et al. 2008; Rendle et al. 2022 show how
much it matters. An epoch is one sweep, first over the users, then over the
items: of exact solutions, or of a few conjugate-gradient steps from the last
ones (Takacs, Pilaszy and Tikk 2011), which cost less and end in the same
quality. The logged loss is J divided by the number of
positives.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xdomain import base, least_squares, precision, shards, wording

STEPS = 3  # Of conjugate gradients, for each row and epoch.


class Hyper(NamedTuple):
  alpha: float = 4.0  # extra confidence in a positive, eq. 3
  penalty: float = 30.0  # lambda, eq. 3
  frequency: float = 0.0  # power of the number of positives in the penalty


class Params(NamedTuple):
  user: base.Array  # P [U, H]
  item: base.Array  # Q [T, H]


@functools.cache
def model(
  sizes: base.Sizes, *, factors: int = 64, solver: str = 'cholesky'
) -> base.Model:
  """Implicit ALS of the target domain.

  Args:
    sizes: of the pair.
    factors: length of a user's or an item's vector, H.
    solver: 'cholesky' for exact solutions, 'cg' for conjugate gradients.
  """
  if solver not in SOLVERS:
    raise ValueError(f'solver is {solver!r}{wording.instead(solver, SOLVERS)}')
  solve = SOLVERS[solver]

  def init(key, data, hyper, previous):
    del data, hyper, previous
    item = jax.random.normal(key, (sizes.target, factors))
    return Params(jnp.zeros((sizes.users, factors)), 0.1 * item)

  def step(state, visit, data, key, hyper):
    del visit, key
    rows = data.target
    user, _ = fit_rows(rows.by_user, state.item, state.user, hyper, solve)
    item, errors = fit_rows(rows.by_item, user, state.item, hyper, solve)
    ratings = jnp.float32(rows.by_user.n_entries)
    ridge = penalties(rows.by_user, hyper) @ jnp.sum(user**2, axis=1)
    loss = (jnp.sum(errors) + ridge) / jnp.maximum(ratings, 1)
    return Params(user, item), {'loss': loss, 'ratings': ratings}

  def predict(state, data):
    del data
    return least_squares.dot(state.user, state.item)

  def predict_all(state, data):
    del data
    return lambda users: state.user[users] @ state.item.T

  stage = base.Stage(init, base.one_visit, step, predict)

  def fold_in(state, data, new, hyper):
    del data
    rows = new.target.by_user
    last = jnp.zeros((rows.n_rows, factors))
    user, _ = fit_rows(rows, state.item, last, hyper, _exactly)
    return state._replace(user=user)

  return base.Model(
    (stage,),
    predict,
    predict_all=predict_all,
    target_only=True,
    fold_in=fold_in,
  )


@precision.exact
def fit_rows(
  rows: base.Rows,
  table: base.Array,
  last: base.Array,
  hyper: Hyper,
  solve: Callable[..., tuple[base.Array, base.Array]],
) -> tuple[base.Array, base.Array]:
  """Better vectors of the rows, given the columns' `table`, eq. 4-5.

  J is a sum over rows of `(1 + alpha) n + x^T A x - 2 b^T x`, where `A x = b` are the
  equations of a row, beside the penalty of the table. With the residual `r = b - A x`
  it needs no pass over the positives: `(1 + alpha) n - x^T (b + r)`.

  Args:
    rows: the positives.
    table: `[n, H]` vectors of the columns.
    last: `[R, H]` the present vectors of the rows.
    hyper: the hyper-parameters.
    solve: one of `SOLVERS`.

  Returns:
    The vectors `[R, H]`, and the part of J of each row `[R]`.
  """
  gram, ridge = table.T @ table, penalties(rows, hyper)

  def vectors(ids, columns, observed):
    seen = shards.looked_up(table, columns)
    seen = jnp.where(observed[..., None], seen, 0)  # [B, L, H]
    right = (1 + hyper.alpha) * jnp.sum(seen, axis=1)
    start = shards.looked_up(last, jnp.minimum(ids, rows.n_rows - 1))
    x, residual = shards.divided(
      solve, (gram, hyper.alpha), (seen, ridge[ids], right, start)
    )
    positives = jnp.sum(observed, axis=1)
    part = (1 + hyper.alpha) * positives - jnp.sum(x * (right + residual), axis=1)
    return x, part

  return least_squares.by_length(rows, vectors, table.shape[1])


def _exactly(gram, alpha, seen, ridge, right, start):
  """Solutions of `(gram + alpha sum q q^T + ridge) x = right`; residuals are 0."""
  del start
  own = jnp.einsum('blh,blk->bhk', seen, seen)
  left = gram + alpha * own + ridge[:, None, None] * jnp.eye(gram.shape[0])
  return least_squares.solve(left, right), jnp.zeros_like(right)


def _by_conjugate_gradients(gram, alpha, seen, ridge, right, start):
  """The same systems, `STEPS` steps nearer to their solutions, and residuals."""

  def apply(x):
    own = jnp.einsum('bl,blh->bh', jnp.einsum('blh,bh->bl', seen, x), seen)
    return x @ gram + alpha * own + ridge[:, None] * x

  return least_squares.conjugate_gradients(apply, right, start, STEPS)


SOLVERS = {'cholesky': _exactly, 'cg': _by_conjugate_gradients}


def penalties(rows: base.Rows, hyper: Hyper) -> base.Array:
  """`[R]` the penalty of each row's squared vector."""
  positives = jnp.maximum(rows.length, 1).astype(jnp.float32)
  return jnp.maximum(hyper.penalty * positives**hyper.frequency, 1e-6)
