"""FM-CDCF: a factorisation machine with a user's source ratings as features.

Loni et al., ECIR 2014; Rendle, ICDM 2010. The features x of a target rating are the
user, the item, and all source ratings of the user:

  z_uj = (y_uj - centre * mean_u) / |Omega_S(u)|
  yhat = w0 + <w, x> + sum_{a < b} <v_a, v_b> x_a x_b

No feature vector is built. With `S_u = sum_j z_uj v_j`, formed once for each user
of a batch, a rating is a dot product:

  yhat_ui = w_i + <v_i, p_u> + a_u,   p_u = v_u + S_u
  a_u     = w0 + w_u + sum_j z_uj w_j + <v_u, S_u>
            + (|S_u|^2 - sum_j z_uj^2 |v_j|^2) / 2
  J       = SSE / N + lambda_w |w|^2 + lambda_v |V|^2

The penalties of libFM are N times these. The paper does not centre, so its source
features reflect which items were rated more than how they were liked. A step visits
all target ratings of a batch of users. Features without training ratings remain 0.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from xdomain import base, stages
from xdomain.ops import losses, sparse


class Hyper(NamedTuple):
  lr: float = 3e-3
  lambda_w: float = 1e-6  # per target rating
  lambda_v: float = 4e-5  # per target rating
  centre: float = 0.0  # 1 subtracts a user's mean source rating, 0 as published


class Features(NamedTuple):
  """One value for each kind of feature."""

  user: Any
  target: Any
  source: Any


class Params(NamedTuple):
  level: base.Array  # w0 []
  weight: Features  # w of [U], [T] and [S]
  factor: Features  # V of [U, H], [T, H] and [S, H]


@functools.cache
def model(sizes: base.Sizes, *, factors: int = 8, batch: int = 64) -> base.Model:
  """FM-CDCF, trained by gradients.

  Args:
    sizes: of the pair.
    factors: length of a feature's vector, H.
    batch: users a step, B.
  """
  del sizes

  def init(key, data, hyper, previous):
    del previous
    return start(key, data, factors), hyper.centre

  def epoch(key, data):
    return data.target.by_user.batches(key, batch)

  def loss(params, centre, visit, data, key, hyper):
    del key
    rows = data.target.by_user
    source = source_entries(data, visit)
    sse = sparse.squared_error(
      profiles(params, visit, source, centre),
      _append(params.factor.target, 1.0),
      params.weight.target,
      rows.entries(visit),
    )
    count = rows.expected(visit)
    penalty = losses.ridge(params.weight, hyper.lambda_w)
    penalty += losses.ridge(params.factor, hyper.lambda_v)
    return sse / count + penalty, {'mse': sse / count, 'ratings': count}

  only = stages.gradient_stage(init, loss, epoch, predict=_score)
  return base.Model((only,), only.predict)


def start(key: base.Array, data: base.Arrays, factors: int):
  """Parameters before training; 0 for features without training ratings."""
  domains = data.target.by_user, data.target.by_item, data.source.by_item
  seen = [rows.length > 0 for rows in domains]
  keys = jax.random.split(key, len(seen))
  return Params(
    data.target.by_user.mean(),
    Features(*(jnp.zeros(s.size) for s in seen)),
    Features(
      *(
        0.1 * s[:, None] * jax.random.normal(k, (s.size, factors))
        for s, k in zip(seen, keys)
      )
    ),
  )


def source_entries(data: base.Arrays, users: base.Array):
  """The source ratings of any users `[B]`."""
  rows = data.source.by_user
  most = max(1, min(users.size * rows.longest, rows.n_entries))
  return sparse.flatten_rows(rows.start, rows.column, rows.value, users, most)


def profiles(
  params: Params, users: base.Array, source: sparse.Entries, centre: base.Array | float
):
  """`[B, H + 1]` the part of a prediction that only the user decides: p_u, then a_u.

  Args:
    params: the parameters.
    users: `[B]` user ids.
    source: the source ratings of these users.
    centre: the share of a user's mean that is subtracted from these.
  """
  z = normalised(source, users.size, centre)
  w, v = params.weight.source, params.factor.source
  sums = sparse.gather_sum(_append(v, w), z, users.size)
  total, linear = sums[:, :-1], sums[:, -1]  # S_u, sum_j z w_j
  squares = jnp.sum(v**2, axis=1, keepdims=True)  # [S, 1]
  z_squared = z._replace(value=z.value**2)
  own = sparse.gather_sum(squares, z_squared, users.size)[:, 0]
  v_u, w_u = params.factor.user[users], params.weight.user[users]
  crossed = jnp.sum(v_u * total + total**2 / 2, axis=1) - own / 2
  return _append(v_u + total, params.level + w_u + linear + crossed)


def normalised(source: sparse.Entries, n_users: int, centre: base.Array | float):
  """The entries with z as values."""

  def of_user(values):
    return jax.ops.segment_sum(values, source.segment, n_users, indices_are_sorted=True)

  count = jnp.maximum(of_user(source.weight), 1)
  mean = of_user(source.value) / count
  z = source.value - centre * mean[source.segment]
  return source._replace(value=source.weight * z / count[source.segment])


def _append(table, column):
  """A table `[n, H]` with one more column, `[n]` or a constant."""
  column = jnp.broadcast_to(column, table.shape[:1])
  return jnp.concatenate([table, column[:, None]], axis=1)


def _score(state, data):
  params, centre = state.params, state.frozen
  rows = data.source.by_user
  profile = rows.for_all(lambda ids: profiles(params, ids, rows.entries(ids), centre))
  table = _append(params.factor.target, 1.0)

  def rate(users, items):
    product = jnp.sum(profile[users] * table[items], axis=-1)
    return params.weight.target[items] + product

  return base.oriented('user', rate)
