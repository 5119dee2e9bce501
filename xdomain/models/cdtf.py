"""CDTF: users, items and domains factorised together, by PARAFAC2.

Hu et al. 2013. The slab of domain k, users by items, is modelled by factors of the
users, of the domain and, through an orthonormal `P_k`, of its items:

  yhat_k = A diag(C_k) (P_k H)'
  J      = sum_k w_k^2 SSE_k + lambda_a |A|^2 + lambda_h |H|^2
           + lambda_c sum_k |w_k C_k|^2

Sums are over ratings, as in the authors' code. The target has weight 1. A weight
enters squared, because the code scales the slab and `C` by it.

An epoch is one iteration: missing cells are filled with the model's predictions
(at first with the slab's mean), `P` solves a Procrustes problem, then A, H and
C solve their ridge regressions in turn. J never rises. The filled slabs are never
built: each is a product of factors plus the residuals of the ratings, so that an
iteration costs `O(N R + (U + S + T) R^2)` for N ratings.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xdomain import base
from xdomain.ops import sparse


class Hyper(NamedTuple):
  source: float = 0.1  # w of the source's slab
  lambda_a: float = 0.05
  lambda_h: float = 0.001
  lambda_c: float = 0.001


class Slab(NamedTuple):
  """The predictions for a domain: `user @ item.T`."""

  user: base.Array  # A diag(C_k) [U, R]
  item: base.Array  # P_k H [items, R]


class State(NamedTuple):
  """Factors and their slabs; the rows of `c` are scaled, `w_k C_k`."""

  a: base.Array  # [U, R]
  h: base.Array  # [R, R]
  c: base.Array  # [2, R], source and target
  slabs: tuple[Slab, ...]  # source and target


@functools.cache
def model(sizes: base.Sizes, *, factors: int = 25, rounds: int = 5) -> base.Model:
  """Returns CDTF on both domains.

  Args:
    sizes: numbers of users and items.
    factors: number of factors, R.
    rounds: rounds of the regressions in an iteration.
  """

  def init(key, data, hyper, previous):
    del hyper, previous
    key_a, key_c = jax.random.split(key)
    return State(
      jax.random.uniform(key_a, (sizes.users, factors)),
      jnp.eye(factors),
      jax.random.uniform(key_c, (2, factors)),
      tuple(level(domain, factors) for domain in (data.source, data.target)),
    )

  def step(state, visit, data, key, hyper):
    del visit, key
    domains = data.source, data.target
    with jax.default_matmul_precision('float32'):  # As regressions need it.
      state = _iterate(state, domains, hyper, rounds)
    return state, _metrics(state, domains, hyper)

  def predict(state, data):
    del data
    return _score(state.slabs[1])

  def predict_source(state, data):
    del data
    return _score(state.slabs[0])

  stage = base.Stage(init, base.one_visit, step, predict)
  return base.Model((stage,), predict, trained, predict_source)


def trained(data: base.Arrays, users: base.Array, items: base.Array):
  """`[B, K]` whether the user has any ratings; cold items have filled cells."""
  both = data.source.by_user.length + data.target.by_user.length
  return jnp.broadcast_to(both[users] > 0, items.shape)


def level(domain: base.Domain, factors: int):
  """Returns the slab whose every cell is the domain's mean rating."""
  users, items = domain.by_user.n_rows, domain.by_item.n_rows
  first = jnp.zeros(factors).at[0].set(1)
  return Slab(
    jnp.broadcast_to(domain.by_user.mean() * first, (users, factors)),
    jnp.broadcast_to(first, (items, factors)),
  )


def _weights(hyper):
  return jnp.stack([jnp.maximum(hyper.source, 1e-6), 1.0])  # 0 would divide.


def _iterate(state, domains, hyper, rounds):
  """Returns the state after one iteration."""
  slabs = [
    project(domain, slab, state.a * c @ state.h.T)
    for domain, slab, c in zip(domains, state.slabs, state.c)
  ]
  weights = _weights(hyper)
  y = weights[:, None, None] * jnp.stack([y for _, y in slabs])
  a, h, c = _regress(state, y, hyper, rounds)
  unscaled = c / weights[:, None]
  return State(a, h, c, tuple(Slab(a * c, p @ h) for c, (p, _) in zip(unscaled, slabs)))


def residuals(rows: base.Rows, slab: Slab):
  """Returns the rows with residuals from the slab in place of ratings."""
  predicted = jnp.sum(slab.user[rows.row] * slab.item[rows.column], axis=1)
  return dataclasses.replace(rows, value=rows.value - predicted)


def filled(rows: base.Rows, slab: Slab, table: base.Array):
  """`[rows, R]` the filled slab (ratings where observed) times a table.

  Args:
    rows: ratings, whose rows are those of `slab.user`.
    slab: values of the missing cells.
    table: `[columns, R]`.
  """
  rest = residuals(rows, slab)

  def block(ids):
    return sparse.gather_sum(table, rest.entries(ids), ids.shape[0])

  return slab.user @ (slab.item.T @ table) + rest.for_all(block)


def project(domain: base.Domain, slab: Slab, b: base.Array):
  """Returns P and the filled slab times P.

  Args:
    domain: ratings.
    slab: values of the missing cells.
    b: `[U, R]`, `A diag(C_k) H'`.

  Returns:
    `[items, R]` the orthonormal P for which `b P'` is nearest to the filled slab,
    and `[U, R]` the product.
  """
  transposed = Slab(slab.item, slab.user)
  left, _, right = jnp.linalg.svd(
    filled(domain.by_item, transposed, b), full_matrices=False
  )
  p = left @ right
  return p, filled(domain.by_user, slab, p)


def _regress(state, y, hyper, rounds):
  """Returns A, H and C fitted to `y_k ~ A diag(C_k) H'` by rounds of regressions."""

  def once(_, factors):
    a, h, c = factors
    right = jnp.einsum('kur,rs,ks->us', y, h, c)
    a = _ridge(right, (h.T @ h) * (c.T @ c), hyper.lambda_a)
    right = jnp.einsum('kur,us,ks->rs', y, a, c)
    h = _ridge(right, (a.T @ a) * (c.T @ c), hyper.lambda_h)
    right = jnp.einsum('us,kur,rs->ks', a, y, h)
    c = _ridge(right, (a.T @ a) * (h.T @ h), hyper.lambda_c)
    return a, h, c

  return jax.lax.fori_loop(0, rounds, once, (state.a, state.h, state.c))


def _ridge(right, gram, strength):
  """`right (gram + strength I)^-1`.

  Slabs with few ratings are nearly of rank 1. Where the gram matrix is then
  singular in float32, its rounding error is added to the diagonal.
  """
  identity = jnp.eye(gram.shape[0], dtype=gram.dtype)
  floor = gram.shape[0] * jnp.finfo(gram.dtype).eps * jnp.trace(gram)
  exact, stabilised = (
    jax.scipy.linalg.solve(gram + added * identity, right.T, assume_a='pos').T
    for added in (strength, strength + floor)
  )
  return jnp.where(jnp.all(jnp.isfinite(exact)), exact, stabilised)


def _metrics(state, domains, hyper):
  rests = [residuals(d.by_user, s) for d, s in zip(domains, state.slabs)]
  sse = jnp.stack([jnp.sum(rest.value**2) for rest in rests])
  penalty = (
    hyper.lambda_a * jnp.sum(state.a**2)
    + hyper.lambda_h * jnp.sum(state.h**2)
    + hyper.lambda_c * jnp.sum(state.c**2)
  )
  source, target = (rest.n_entries for rest in rests)
  return {
    'loss': jnp.sum(_weights(hyper) ** 2 * sse) + penalty,
    'mse': sse[1] / max(1, target),
    'ratings': jnp.float32(source + target),
  }


def _score(slab):
  def rate(users, items):
    return jnp.sum(slab.user[users] * slab.item[items], axis=-1)

  return base.oriented('user', rate)
