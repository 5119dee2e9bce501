"""Kernel-ALS (ours): kernel ridge between users, blended with low-rank factors.

Users with a target history are scored by two closed forms that err differently, and
popularity:

  k  `ntk_ridge` (Sachdeva et al. 2022) of the rows [w x_S, x_T]
  f  implicit ALS (Hu, Koren and Volinsky 2008, with the frequency-scaled penalty of
     Rendle et al. 2022) of both domains as one matrix, in which a source positive has
     the value w instead of 1
  p  log(1 + n_i), with n_i the users of an item

  score = (1 - blend) z(k) + blend z(f) + popularity z(p)

`z` takes a user's scores less their mean over all items, divided by their standard
deviation. A source weight w of 0 leaves the target alone in both parts, so that
validation can choose to transfer nothing. Users without a target history are scored
by the same formula from the source: k is `ntk_ridge` of x_S, and f is
`low_rank_ridge` (Sedhain et al. 2017). Training is one visit: sweeps of ALS and three
exact solutions. The loss that is logged is the sum of the parts' errors for each cell
of the target.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xdomain import base, least_squares, precision
from xdomain.models import low_rank_ridge, ntk_ridge


class Hyper(NamedTuple):
  source_weight: float = 0.3  # w
  penalty: float = 0.5  # of the kernel, relative to the mean of its diagonal
  cold_penalty: float = 3.0  # the same for cold-start users
  alpha: float = 4.0  # extra confidence of ALS in a positive
  factor_penalty: float = 3.0  # of ALS
  frequency: float = 0.5  # power of the number of positives in that penalty
  ridge_penalty: float = 300.0  # of the low-rank regression
  blend: float = 0.3  # share of ALS or of the low-rank regression
  popularity: float = 0.0


def fault(hyper: Hyper) -> str:
  """The fault of hyper-parameters, in a sentence; empty where there is none."""
  if hyper.blend <= 1:
    return ''
  return (
    f'blend is {hyper.blend:g}; it must be at most 1, which leaves the factors alone'
  )


class Parts(NamedTuple):
  kernel: ntk_ridge.Regression
  user: base.Array  # P [U, H]
  item: base.Array  # Q of the target's and the source's items [T + S, H]
  cold: ntk_ridge.Regression
  ridge: low_rank_ridge.Regression
  popular: base.Array  # [T] popularity z(p), standardised
  weights: tuple[base.Array, base.Array]  # [] blend, [] popularity


@functools.cache
def model(
  sizes: base.Sizes, *, factors: int = 64, sweeps: int = 12, rank: int = 20
) -> base.Model:
  """Kernel ridge regression and low-rank factors, blended.

  Args:
    sizes: of the pair.
    factors: length of a user's or an item's vector of ALS, H.
    sweeps: of ALS.
    rank: directions of the target that are predicted for cold-start users.
  """
  target = sizes.target
  kernel, ridge = ntk_ridge.model(sizes), low_rank_ridge.model(sizes, rank=rank)
  (by_kernel,), (by_ridge,) = kernel.stages, ridge.stages

  def init(key, data, hyper, previous):
    del previous
    count = data.target.by_item.length.astype(jnp.float32)
    item = 0.1 * jax.random.normal(key, (target + sizes.source, factors))
    warm, cold, low_rank = hypers(hyper)
    return Parts(
      by_kernel.init(key, data, warm, ()),
      jnp.zeros((sizes.users, factors)),
      item.at[target:].multiply(hyper.source_weight),
      by_kernel.init(key, data, cold, ()),
      by_ridge.init(key, data, low_rank, ()),
      standardised(jnp.log1p(count)[None])[0],
      (jnp.float32(hyper.blend), jnp.float32(hyper.popularity)),
    )

  def step(state, visit, data, key, hyper):
    solved = [
      stage.step(part, visit, data, key, of_part)
      for stage, part, of_part in zip(
        (by_kernel, by_kernel, by_ridge),
        (state.kernel, state.cold, state.ridge),
        hypers(hyper),
      )
    ]
    (warm, cold, low_rank), metrics = zip(*solved)
    user, item = fit_factors(state.item, data, hyper, sweeps)
    rows = data.target.by_user
    error = least_squares.squared_error(user, item[:target], rows, hyper.alpha)
    loss = sum(each['loss'] for each in metrics)
    loss += jnp.sum(error) / user.shape[0] / target  # Cells can exceed 2^31.
    ratings = jnp.float32(rows.n_entries)
    state = state._replace(kernel=warm, user=user, item=item, cold=cold, ridge=low_rank)
    return state, {'loss': loss, 'ratings': ratings}

  def predict_all(state, data):
    warm, cold, low_rank = (
      _scores(part, of_part, data)
      for part, of_part in (
        (kernel, state.kernel),
        (kernel, state.cold),
        (ridge, state.ridge),
      )
    )
    blend, popularity = state.weights

    def score(users):
      known = (data.target.by_user.length[users] > 0)[:, None]
      of_kernel = jnp.where(known, warm(users), cold(users))
      of_factors = state.user[users] @ state.item[:target].T
      of_factors = jnp.where(known, of_factors, low_rank(users))
      blended = (1 - blend) * standardised(of_kernel) + blend * standardised(of_factors)
      return blended + popularity * state.popular

    return score

  def predict(state, data):
    return least_squares.chosen(predict_all(state, data))

  def fold_in(state, data, new, hyper):
    del data
    return state._replace(user=fit_users(both(new), state.item, hyper))

  stage = base.Stage(init, base.one_visit, step, predict)
  return base.Model((stage,), predict, predict_all=predict_all, fold_in=fold_in)


def _scores(part, state, data):
  assert part.predict_all is not None
  return part.predict_all(state, data)


def hypers(hyper: Hyper):
  """The hyper-parameters of both kernel regressions and of the low-rank one."""
  return (
    ntk_ridge.Hyper(hyper.penalty, hyper.source_weight, 1.0),
    ntk_ridge.Hyper(hyper.cold_penalty, 1.0, 0.0),
    low_rank_ridge.Hyper(hyper.ridge_penalty),
  )


def standardised(scores: base.Array) -> base.Array:
  """`[B, T]` scores of each row less their mean, divided by their deviation."""
  centred = scores - jnp.mean(scores, axis=1, keepdims=True)
  deviation = jnp.sqrt(jnp.mean(centred**2, axis=1, keepdims=True))
  return centred / jnp.maximum(deviation, 1e-9)


# --- The factors ------------------------------------------------------------


class Both(NamedTuple):
  """The positives of users in both domains: columns of the target, then the source."""

  rows: base.Rows  # [U, T + S]
  target: base.Array  # [U] positives in the target
  border: int  # T


def both(data: base.Arrays) -> Both:
  """The rows of both domains as one matrix."""
  target, source = data.target.by_user, data.source.by_user
  rows = least_squares.side_by_side([target, source])
  return Both(rows, target.length, target.n_columns)


def fit_factors(item: base.Array, data: base.Arrays, hyper: Hyper, sweeps: int):
  """User vectors `[U, H]` and item vectors after sweeps of ALS over both domains.

  Args:
    item: `[T + S, H]` initial vectors of the target's and the source's items.
    data: the pair.
    hyper: the hyper-parameters.
    sweeps: how many.
  """
  together = both(data)

  def sweep(item, _):
    user = fit_users(together, item, hyper)
    # A source positive has the value w, so that its item's vector scales with it.
    of_each = [
      value * fit_rows(domain.by_item, user, domain.by_item.length, 1.0, hyper)
      for domain, value in ((data.target, 1.0), (data.source, hyper.source_weight))
    ]
    return jnp.concatenate(of_each), None

  item, _ = jax.lax.scan(sweep, item, length=sweeps)
  return fit_users(together, item, hyper), item


def fit_users(together: Both, item: base.Array, hyper: Hyper) -> base.Array:
  """`[U, H]` optimal vectors of users, given those of items `[T + S, H]`."""
  rows, border = together.rows, together.border
  value = jnp.where(jnp.arange(rows.n_columns) < border, 1.0, hyper.source_weight)
  of_source = hyper.source_weight * (rows.length - together.target)
  return fit_rows(rows, item, together.target + of_source, value, hyper)


@precision.exact
def fit_rows(
  rows: base.Rows,
  table: base.Array,
  count: base.Array,
  value: base.Array | float,
  hyper: Hyper,
) -> base.Array:
  """`[R, H]` optimal vectors of rows, given those of their columns.

  In the basis of eigenvectors of the Gram matrix of the table, a row's equations are
  `(D + alpha Y^T Y) x = (1 + alpha) Y^T v` with a diagonal D and the row's own columns
  Y `[L, H]`. A row with fewer positives than factors is solved in its positives, as
  `x = D^-1 Y^T (I + alpha Y D^-1 Y^T)^-1 (1 + alpha) v`.

  Args:
    rows: the positives, `[R, n]`.
    table: `[n, H]` vectors of the columns.
    count: `[R]` positives of a row, for the penalty.
    value: of a positive in each column, `[n]` or a scalar.
    hyper: the hyper-parameters.
  """
  factors = table.shape[1]
  energy, basis = least_squares.eigen(table.T @ table)
  table = table @ basis
  value = jnp.broadcast_to(value, table.shape[:1])
  penalty = hyper.factor_penalty * jnp.maximum(count, 1.0) ** hyper.frequency

  def vectors(ids, columns, observed):
    seen = jnp.where(observed[..., None], table[columns], 0)  # [B, L, H]
    right = (1 + hyper.alpha) * jnp.where(observed, value[columns], 0)
    diagonal = jnp.maximum(energy, 0) + penalty[ids][:, None]
    if observed.shape[1] < factors:
      small = seen / diagonal[:, None]
      own = hyper.alpha * jnp.einsum('blh,bmh->blm', small, seen)
      right = least_squares.solve(own + jnp.eye(own.shape[1]), right)
      return jnp.einsum('bl,blh->bh', right, small)
    own = hyper.alpha * jnp.einsum('blh,blk->bhk', seen, seen)
    left = own + diagonal[..., None] * jnp.eye(factors)
    return least_squares.solve(left, jnp.einsum('bl,blh->bh', right, seen))

  return least_squares.by_length(rows, vectors, factors) @ basis.T
