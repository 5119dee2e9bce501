"""CMF of 0/1 interactions: all cells of both domains, one vector per user.

Singh and Gordon 2008, with the weights and the dense source of the Python
package cmfrec (2019). Domain d has `m_d` users with interactions and `n_d` items;
sums are over all cells of those users, zeros included:

  J = sum_d w_d / (m_d n_d) sum (1 + pos_weight r) (r - <p_u, q_i>)^2
      + penalty / 2 (|P|^2 + |Q_target|^2 + |Q_source|^2)

Zeros are never visited: all squared scores sum to `tr(P^T P Q^T Q)`. A user without
interactions in a domain is left out of its sum, so a cold-start user is folded in
by the other domain alone; if every user has interactions in both, this changes
nothing. An epoch is one sweep of exact solutions, of the users and then of each
domain's items: one inverse for all rows that share a matrix, or one system for
each row if `pos_weight` is above 0. The logged loss is J.
"""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xdomain import base, least_squares, precision, shards


class Hyper(NamedTuple):
  penalty: float = 6e-4  # lambda
  w_target: float = 75.0
  w_source: float = 1.0
  pos_weight: float = 0.0  # extra weight of positives


class Params(NamedTuple):
  user: base.Array  # P [U, H]
  source: base.Array  # Q_source [S, H]
  target: base.Array  # Q_target [T, H]


class Part(NamedTuple):
  """One domain's contribution to the systems of a block of rows."""

  rows: base.Rows  # [R, n]
  table: base.Array  # [n, H]
  gram: base.Array  # [H, H] of the table's rows that belong to the domain
  weight: base.Array  # []
  there: base.Array  # [R] bool, whether a row belongs to the domain


@functools.cache
def model(sizes: base.Sizes, *, factors: int = 30) -> base.Model:
  """CMF of the positives of both domains.

  Args:
    sizes: of the pair.
    factors: length of a user's or an item's vector, H.
  """

  def init(key, data, hyper, previous):
    del data, hyper, previous
    keys = jax.random.split(key, 3)
    return Params(
      *(0.1 * jax.random.normal(k, (n, factors)) for k, n in zip(keys, sizes))
    )

  def step(state, visit, data, key, hyper):
    del visit, key
    for block in Params._fields:
      state = state._replace(**{block: fit_block(block, state, data, hyper)})
    entries = (d.by_user.n_entries for d in (data.source, data.target))
    loss = objective(state, data, hyper)
    return state, {'loss': loss, 'ratings': jnp.float32(sum(entries))}

  def predict(state, data):
    del data
    return least_squares.dot(state.user, state.target)

  def predict_source(state, data):
    del data
    return least_squares.dot(state.user, state.source)

  def predict_all(state, data):
    del data
    return lambda users: state.user[users] @ state.target.T

  stage = base.Stage(init, base.one_visit, step, predict)
  return base.Model(
    (stage,),
    predict,
    predict_source=predict_source,
    predict_all=predict_all,
    fold_in=_fold_in,
  )


def _fold_in(state, data, new, hyper):
  """New users' vectors, given the items' and the weights of the training cells."""
  parts = []
  for domain in ('source', 'target'):
    weight, _ = cell_weight(domain, data, hyper)
    rows, table = getattr(new, domain).by_user, getattr(state, domain)
    parts.append(Part(rows, table, table.T @ table, weight, rows.length > 0))
  return state._replace(user=_fitted(parts, hyper))


def cell_weight(domain: str, data: base.Arrays, hyper: Hyper):
  """`w_d / (m_d n_d)`, and `[U]` bool whether a user belongs to the domain."""
  rows = getattr(data, domain).by_user
  there = rows.length > 0
  users = jnp.sum(there, dtype=rows.value.dtype)  # Cells can exceed 2^31.
  cells = jnp.maximum(users, 1) * rows.n_columns
  return getattr(hyper, f'w_{domain}') / cells, there


def objective(params: Params, data: base.Arrays, hyper: Hyper):
  """J, a scalar, in one pass over the positives."""
  value = hyper.penalty / 2 * sum(jnp.sum(x**2) for x in params)
  for domain in ('source', 'target'):
    weight, there = cell_weight(domain, data, hyper)
    rows, table = getattr(data, domain).by_user, getattr(params, domain)
    error = least_squares.squared_error(params.user, table, rows, hyper.pos_weight)
    value += weight * (there @ error)
  return value


def fit_block(block: str, params: Params, data: base.Arrays, hyper: Hyper):
  """The optimal vectors of users, or of a domain's items, given all others."""
  return _fitted(list(_parts(block, params, data, hyper)), hyper)


@precision.exact
def _fitted(parts, hyper):
  """`[R, H]` optimal vectors of the rows of all parts."""
  return jax.lax.cond(
    hyper.pos_weight > 0, _with_own_systems, _with_shared_inverses, parts, hyper
  )


def _parts(block, params, data, hyper):
  """The parts that a block is fitted to: both domains for users, else its own."""
  for domain in ('source', 'target') if block == 'user' else (block,):
    weight, there = cell_weight(domain, data, hyper)
    rows = getattr(data, domain).along('user' if block == 'user' else 'item')
    if block == 'user':
      table = getattr(params, domain)
      yield Part(rows, table, table.T @ table, weight, there)
    else:
      gram = (params.user * there[:, None]).T @ params.user
      yield Part(rows, params.user, gram, weight, jnp.ones(rows.n_rows, bool))


def _with_shared_inverses(parts, hyper):
  """Solutions by one inverse for all rows that belong to the same domains."""
  each = [p.weight * least_squares.sums(p.table, p.rows) for p in parts]
  right = functools.reduce(jnp.add, each)  # [R, H]
  eye = jnp.eye(right.shape[1])
  best = jnp.zeros_like(right)
  for kind in itertools.product((False, True), repeat=len(parts)):
    left = sum(p.weight * p.gram * part for p, part in zip(parts, kind))
    inverse = least_squares.inverse(left + _ridge(hyper) * eye)
    those = jnp.stack([p.there == part for p, part in zip(parts, kind)])
    best += jnp.all(those, axis=0)[:, None] * (right @ inverse)
  return best


def _with_own_systems(parts, hyper):
  """Solutions of one system for each row."""
  rows = least_squares.side_by_side([p.rows for p in parts])
  grams = jnp.stack([p.weight * p.gram for p in parts])  # [D, H, H]
  there = jnp.stack([p.there for p in parts], axis=1)  # [R, D]

  def vectors(ids, columns, observed):
    seen = weight = begin = 0
    for p in parts:
      place = columns - begin
      own = observed & (place >= 0) & (place < p.rows.n_columns)
      row = shards.looked_up(p.table, jnp.where(own, place, 0))
      seen += jnp.where(own[..., None], row, 0)  # [B, L, H]
      weight += p.weight * own  # [B, L]
      begin += p.rows.n_columns
    of_domains = there.at[ids].get(mode='fill', fill_value=False)
    return shards.divided(_solutions, (grams, hyper), (seen, weight, of_domains))

  return least_squares.by_length(rows, vectors, grams.shape[-1])


def _solutions(grams, hyper, seen, weight, of_domains):
  """`[B, H]` vectors of rows by their positives `[B, L, H]` and domains `[B, D]`."""
  left = jnp.einsum('bd,dhk->bhk', of_domains.astype(grams.dtype), grams)
  weighted = weight[..., None] * seen
  left += hyper.pos_weight * jnp.einsum('blh,blk->bhk', weighted, seen)
  left += _ridge(hyper) * jnp.eye(grams.shape[-1])
  return least_squares.solve(left, (1 + hyper.pos_weight) * jnp.sum(weighted, axis=1))


def _ridge(hyper):
  return jnp.maximum(hyper.penalty / 2, 1e-9)
