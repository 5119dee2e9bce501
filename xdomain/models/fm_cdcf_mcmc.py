"""FM-CDCF by Gibbs sampling, the default method of libFM.

Loni et al., ECIR 2014; Rendle, "Factorization machines with libFM", 2012, section
4.4. The model is that of `fm_cdcf`; the prediction is the mean over the samples of
the last sweeps. With e = yhat - y, h the derivative of yhat with respect to a
parameter v (yhat is linear in each), and g the group of v (users, target items or
source items, each factor apart):

  alpha    ~ Gamma((1 + N) / 2, (1 + |e|^2) / 2)
  lambda_g ~ Gamma((1 + n_g) / 2, (1 + |v_g|^2 - (sum v_g)^2 / (n_g + 1)) / 2)
  mu_g     ~ Normal(sum v_g / (n_g + 1), 1 / ((n_g + 1) lambda_g))
  v        ~ Normal(s (alpha (v <h, h> - <h, e>) + mu lambda), s),
             s = 1 / (lambda + alpha <h, h>)

`lambda_g` is drawn with `mu_g` integrated out; libFM draws one given the other, from
the same posterior. Given the rest, users are independent of each other, and so are
target items; source items are drawn one after another. The contribution of a user's
target ratings to <h, h> and <h, e> of a source item depends only on five sums over
them. A source item therefore costs its own ratings, `CHUNK` at a time, and a factor
costs O(N + ratings of the source).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xdomain import base
from xdomain.models import fm_cdcf
from xdomain.models.fm_cdcf import Features, Params

CHUNK = 128  # Ratings of a source item at a time.
STREAMS = 16  # of ratings, which a sum over all ratings takes in turn


class Hyper(NamedTuple):
  centre: float = 0.0  # 1 subtracts a user's mean source rating, 0 as published
  spread: float = 0.1  # standard deviation of the initial factors


class Chain(NamedTuple):
  """The current parameters and the last samples."""

  params: Params
  samples: Params  # leaves lead with [K]
  drawn: base.Array  # [] int32, samples so far
  centre: base.Array


class Prior(NamedTuple):
  precision: base.Array  # lambda []
  mean: base.Array  # mu []


class Ratings(NamedTuple):
  """The target's training ratings; those of a user do not follow each other."""

  user: base.Array  # [E]
  item: base.Array  # [E]
  value: base.Array  # [E]
  count: base.Array  # [U] of each user


class Source(NamedTuple):
  """Normalised source ratings by item, with a chunk of padding."""

  start: base.Array  # [S + 1]
  user: base.Array  # [E + CHUNK]
  z: base.Array  # [E + CHUNK]


@functools.cache
def model(sizes: base.Sizes, *, factors: int = 8, samples: int = 50) -> base.Model:
  """FM-CDCF, sampled. An epoch is one sweep over all parameters.

  Args:
    sizes: of the pair.
    factors: length of a feature's vector, H.
    samples: the number of last sweeps that are averaged, K.
  """

  def init(key, data, hyper, previous):
    del previous
    counts = sizes.users, sizes.target, sizes.source
    key, again = jax.random.split(key)
    factor = (
      hyper.spread * jax.random.normal(k, (n, factors))
      for k, n in zip((key, *jax.random.split(again)), counts)
    )
    weight = Features(*map(jnp.zeros, counts))
    params = Params(data.target.by_user.mean(), weight, Features(*factor))
    kept = jax.tree.map(
      lambda leaf: jnp.broadcast_to(leaf, (samples, *leaf.shape)), params
    )
    return Chain(params, kept, jnp.int32(0), hyper.centre)

  def step(chain, visit, data, key, hyper):
    del visit, hyper
    params, sse = sweep(key, chain.params, data, chain.centre)
    place = chain.drawn % samples
    kept = jax.tree.map(lambda old, new: old.at[place].set(new), chain.samples, params)
    n = data.target.by_user.n_entries
    metrics = {'loss': sse / max(1, n), 'ratings': jnp.float32(n)}
    return Chain(params, kept, chain.drawn + 1, chain.centre), metrics

  stage = base.Stage(init, base.one_visit, step, _predict, name='gibbs')
  return base.Model((stage,), _predict)


def _predict(chain, data):
  return scores(*tables(chain, data))


def tables(chain: Chain, data: base.Arrays) -> tuple[base.Array, base.Array]:
  """Vectors of users `[U, L]` and target items `[T, L]`, of L = samples (H + 2).

  The product of two is the mean prediction of all samples.
  """
  rows = data.source.by_user

  def sides(params):
    user = rows.for_all(
      lambda ids: fm_cdcf.profiles(params, ids, rows.entries(ids), chain.centre)
    )
    ones = jnp.ones((params.weight.target.size, 1))
    item = [params.factor.target, ones, params.weight.target[:, None]]
    return jnp.pad(user, ((0, 0), (0, 1)), constant_values=1), jnp.hstack(item)

  users, items = jax.lax.map(sides, chain.samples)  # [K, U or T, H + 2]
  count = jnp.clip(chain.drawn, 1, users.shape[0])
  weight = (jnp.arange(users.shape[0]) < count) / count
  users, items = (
    jnp.swapaxes(table, 0, 1).reshape(table.shape[1], -1)
    for table in (users * weight[:, None, None], items)
  )
  return users, items


def scores(users: base.Array, items: base.Array) -> base.Score:
  """The products of the vectors of `tables`."""
  return base.oriented(
    'user', lambda user, item: jnp.sum(users[user] * items[item], axis=-1)
  )


# --- A sweep ----------------------------------------------------------------


def sweep(
  key: base.Array, params: Params, data: base.Arrays, centre: base.Array | float
):
  """Parameters after each was drawn once given all others, and the squared error."""
  ratings, source = in_turn(data.target.by_user), source_by_item(data, centre)
  keys = jax.random.split(key, 4)
  error, totals = errors(params, data.source.by_user, ratings, centre)
  n = max(1, ratings.value.size)
  alpha = jax.random.gamma(keys[0], (1 + n) / 2) * 2 / (1 + error @ error)
  change = jax.random.normal(keys[1]) / jnp.sqrt(alpha * n) - jnp.mean(error)
  weight, error = linear_sweep(
    *draws(keys[2], params.weight),
    params.weight,
    error + change,
    alpha,
    ratings,
    source,
  )

  def of_factor(error, column):
    key, values, total = column
    values, error = factor_sweep(
      *draws(key, values), values, total, error, alpha, ratings, source
    )
    return error, values

  columns = jax.tree.map(jnp.transpose, (params.factor, totals))
  by_factor = jax.random.split(keys[3], totals.shape[1])
  error, factor = jax.lax.scan(of_factor, error, (by_factor, *columns))
  factor = jax.tree.map(jnp.transpose, factor)
  return Params(params.level + change, weight, factor), error @ error


def in_turn(rows: base.Rows) -> Ratings:
  """Ratings in an order that takes one from each of `STREAMS` parts in turn.

  On a CPU an addition waits for the one before if both are to the same address. In this
  order, neighbours are of different users, and sums over users do not wait.
  """
  whole = rows.n_entries - rows.n_entries % STREAMS
  order = jnp.arange(whole).reshape(STREAMS, -1).T.ravel()
  order = jnp.append(order, jnp.arange(whole, rows.n_entries))
  return Ratings(rows.row[order], rows.column[order], rows.value[order], rows.length)


def source_by_item(data: base.Arrays, centre: base.Array | float) -> Source:
  """z of every source rating, by item."""
  by_user, by_item = data.source.by_user, data.source.by_item
  count = jnp.maximum(by_user.length, 1)
  total = jax.ops.segment_sum(
    by_user.value, by_user.row, by_user.n_rows, indices_are_sorted=True
  )
  user = by_item.column
  z = (by_item.value - centre * (total / count)[user]) / count[user]
  user, z = (jnp.pad(each, (0, CHUNK)) for each in (user, z))
  return Source(by_item.start, user, z)


def errors(
  params: Params, source: base.Rows, ratings: Ratings, centre: base.Array | float
):
  """`[E]` predictions minus ratings, and the sums S of z v, `[U, H]`."""
  profile = source.for_all(
    lambda ids: fm_cdcf.profiles(params, ids, source.entries(ids), centre)
  )
  user, item, value, _ = ratings

  def add(rated, vectors):  # A factor at a time: gathers of numbers, not of rows.
    own, other = vectors
    return rated + own[user] * other[item], None

  linear = profile[:, -1][user] + params.weight.target[item]
  factors = profile[:, :-1].T, params.factor.target.T
  rated, _ = jax.lax.scan(add, linear, factors)
  return rated - value, profile[:, :-1] - params.factor.user


def draws(key: base.Array, values: Features):
  """A prior for each group of values, and `[n]` standard normal draws."""
  keys = Features(*jax.random.split(key, len(values)))
  priors = Features(*map(draw_prior, keys, values))
  noise = (
    jax.random.normal(jax.random.fold_in(k, 1), v.shape) for k, v in zip(keys, values)
  )
  return priors, Features(*noise)


def draw_prior(key: base.Array, values: base.Array) -> Prior:
  """Draws precision and mean of the normal distribution of a group of values."""
  key_precision, key_mean = jax.random.split(key)
  n, total = values.size, jnp.sum(values)
  rate = (1 + values @ values - total**2 / (n + 1)) / 2
  precision = jax.random.gamma(key_precision, (1 + n) / 2) / rate
  noise = jax.random.normal(key_mean) / jnp.sqrt((n + 1) * precision)
  return Prior(precision, total / (n + 1) + noise)


def draw(
  values: base.Array,
  noise: base.Array,
  prior: Prior,
  alpha: base.Array | float,
  hh: base.Array,
  he: base.Array,
):
  """Draws new values, given <h, h> and <h, e> of each."""
  variance = 1 / (prior.precision + alpha * hh)
  mean = alpha * (values * hh - he) + prior.mean * prior.precision
  return variance * mean + jnp.sqrt(variance) * noise


def linear_sweep(
  priors: Features,
  noise: Features,
  weight: Features,
  error: base.Array,
  alpha: base.Array | float,
  ratings: Ratings,
  source: Source,
):
  """Draws all weights w: of users, then target items, then source items."""
  by_user, by_item = _sums(ratings, weight)
  user = draw(
    weight.user,
    noise.user,
    priors.user,
    alpha,
    ratings.count,
    by_user(error),
  )
  error += (user - weight.user)[ratings.user]
  count = by_item(jnp.ones_like(error))
  target = draw(
    weight.target, noise.target, priors.target, alpha, count, by_item(error)
  )
  error += (target - weight.target)[ratings.item]
  none = jnp.zeros_like(user)
  facts = [none + 1, none, none, ratings.count, by_user(error), none]
  values, change = source_sweep(
    priors.source,
    noise.source,
    weight.source,
    jnp.stack(facts, axis=1),
    alpha,
    source,
    crossed=0.0,
  )
  return Features(user, target, values), error + change[:, 1][ratings.user]


def factor_sweep(
  priors: Features,
  noise: Features,
  factor: Features,
  total: base.Array,
  error: base.Array,
  alpha: base.Array | float,
  ratings: Ratings,
  source: Source,
):
  """Draws one factor of all features: of users, target items, source items.

  Args:
    priors: one for each group.
    noise: one standard normal draw for each value.
    factor: the current values v.
    total: `[U]` sums S of z v over the source ratings of a user.
    error: `[E]` predictions minus ratings.
    alpha: precision of a rating.
    ratings: of the target.
    source: of the source, by item.

  Returns:
    The new values and the new errors.
  """
  by_user, by_item = _sums(ratings, factor)
  v = factor.target[ratings.item]
  n, b, a = ratings.count, by_user(v), by_user(v**2)
  e, ve = by_user(error), by_user(v * error)
  user = draw(
    factor.user,
    noise.user,
    priors.user,
    alpha,
    a + 2 * total * b + n * total**2,
    ve + total * e,
  )
  error += ((user - factor.user)[ratings.user]) * (v + total[ratings.user])
  h = (user + total)[ratings.user]
  target = draw(
    factor.target,
    noise.target,
    priors.target,
    alpha,
    by_item(h**2),
    by_item(h * error),
  )
  error += h * (target - factor.target)[ratings.item]
  v = target[ratings.item]
  sums = [by_user(x) for x in (v, v**2, error, v * error)]
  facts = [user + total, sums[1], sums[0], n, sums[2], sums[3]]
  values, change = source_sweep(
    priors.source,
    noise.source,
    factor.source,
    jnp.stack(facts, axis=1),
    alpha,
    source,
    crossed=1.0,
  )
  a, b = change.T
  error += v * a[ratings.user] + b[ratings.user]
  return Features(user, target, values), error


def _sums(ratings, values):
  """Sums of `[E]` values over users `[U]`, and over target items `[T]`."""
  return (
    functools.partial(jax.ops.segment_sum, segment_ids=ids, num_segments=group.size)
    for ids, group in ((ratings.user, values.user), (ratings.item, values.target))
  )


def source_sweep(
  prior: Prior,
  noise: base.Array,
  values: base.Array,
  facts: base.Array,
  alpha: base.Array | float,
  source: Source,
  crossed: float,
):
  """Draws the values of one factor of the source items, one after another.

  For a user with target factors v_i and errors e_i, h_i = z (v_i + g) with
  g = v_u + S - z v_j; the errors after some draws are e_i + v_i a + b.

  Args:
    prior: of the source items.
    noise: `[S]` standard normal draws.
    values: `[S]` v_j.
    facts: `[U, 6]` v_u + S of each user, and the sums over the user's target
      ratings of v_i^2, v_i, 1, e_i and v_i e_i.
    alpha: precision of a rating.
    source: the ratings.
    crossed: 1 for a factor; 0 for weights, whose g is constant.

  Returns:
    The new values, and `[U, 2]` a and b.
  """

  def item(change, this):
    start, size, value, noise = this
    chunks = (size + CHUNK - 1) // CHUNK

    def look(k, change):
      """Users, z, g and facts of a chunk; a user is in at most one of them."""
      user, z = (
        jax.lax.dynamic_slice_in_dim(x, start + k * CHUNK, CHUNK)
        for x in (source.user, source.z)
      )
      z = jnp.where(k * CHUNK + jnp.arange(CHUNK) < size, z, 0)
      known, (a, b) = facts[user].T, change[user].T
      return user, z, known[0] + crossed * (a - z * value), known, a, b

    def add(k, sums):
      _, z, g, (_, vv, v, n, e, ve), a, b = look(k, change)
      hh = z**2 @ (vv + 2 * g * v + n * g**2)
      he = z @ (ve + vv * a + v * b + g * (e + v * a + n * b))
      return sums + jnp.stack([hh, he])

    hh, he = jax.lax.fori_loop(0, chunks, add, jnp.zeros(2))
    new = draw(value, noise, prior, alpha, hh, he)

    def spread(k, change):
      user, z, g, *_ = look(k, change)
      step = z * (new - value)
      added = jnp.stack([crossed * step, step * g], axis=1)
      return change.at[user].add(added)

    return jax.lax.fori_loop(0, chunks, spread, change), new

  items = source.start[:-1], jnp.diff(source.start), values, noise
  change = jnp.zeros((facts.shape[0], 2))
  change, values = jax.lax.scan(item, change, items)
  return values, change
