"""CF-NADE: a row's ratings, one after the other, each given those before.

Zheng, Tang, Ding and Zhou 2016, the version that shares parameters between
rating values (CF-NADE-S). With rows the users or the items (the default, and
the better) of the target domain, columns the others, and levels `0..K-1`:

  h      = tanh(c + sum_{j given} sum_{k <= l_j} W[j, k])
  s_jk   = sum_{k' <= k} b[j, k'] + <V[j, k'], h>,  p(l_j = k) = softmax_k(s_j)
  cost_j = regular * (-log p(l_j)) + ordinal * (the two Plackett-Luce chains
           l_j > l_j - 1 > ... and l_j > l_j + 1 > ...)
  J      = mean over rows of D / (D - d) sum_{j not given} cost_j
           + decay (|W|^2 + |V|^2)

In every visit of a row, d of its D columns are given, d uniform in `0..D-1`:
the expectation of J is the mean over all orders of the row's columns. A rating
is predicted as the mean of its softmax given all ratings of the row, from an
exponential average of the parameters.

The released code may also add l_j + 1 times Q[j] to what is given: the same as
W[j, k] + Q[j] for every k, and no better on validation, so it is left out. Its
biases begin at differences of log(count + 1e-8), under which a level that was
not seen costs without bound; here frequencies are smoothed, and a column
without ratings predicts the mean of all.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xdomain import base, stages
from xdomain.ops import levels as ops
from xdomain.ops import losses


class Hyper(NamedTuple):
  lr: float = 1e-3
  decay: float = 0.02  # of W and V
  regular: float = 0.0  # weight of the negative log-likelihood
  ordinal: float = 1.0  # weight of the ordinal cost
  polyak: float = 0.995  # how much of the average a step keeps


class Params(NamedTuple):
  encode: base.Array  # W [columns, K, H]
  hidden: base.Array  # c [H]
  decode: base.Array  # V [columns, K, H]
  output: base.Array  # b [columns, K]


class Averaged(NamedTuple):
  """The average that predicts, and the state that is trained."""

  params: Params
  latest: stages.GradientState


class Drawn(NamedTuple):
  """Which entries of a batch are given, and how much the others weigh."""

  given: base.Array  # [P] 0 or 1
  asked: base.Array  # [P] 0, or D / (D - d)


@functools.cache
def model(
  sizes: base.Sizes,
  *,
  axis: str = 'item',
  hidden: int = 500,
  batch: int = 128,
  levels: int = 5,
  lowest: float = 1.0,
  step: float = 1.0,
) -> base.Model:
  """CF-NADE-S on the target domain.

  Args:
    sizes: of the pair.
    axis: 'user' for U-CF-NADE, 'item' for I-CF-NADE.
    hidden: hidden units, H.
    batch: rows a step, B.
    levels: how many rating values there are, K.
    lowest: the first of them.
    step: from one to the next; a rating counts as the nearest.
  """
  del sizes
  base.check_axis(axis)
  only = stage(axis, hidden, batch, ops.Scale(levels, lowest, step))
  trained = functools.partial(base.column_trained, axis)
  return base.Model((only,), only.predict, trained, target_only=True)


def stage(axis, hidden, batch, scale) -> base.Stage:
  """Trained by Adam; selected, and predicting, by the average."""

  def init(key, data, hyper, previous):
    del hyper, previous
    return start(key, data.target.along(axis), hidden, scale), ()

  def epoch(key, data):
    return data.target.along(axis).batches(key, batch)

  def loss(params, frozen, visit, data, key, hyper):
    del frozen
    rows = data.target.along(axis)
    entries = rows.entries(visit)
    level = scale.level(entries.value)
    drawn = draw(key, entries, visit.shape[0])
    costs, scores = cost(params, entries, level, drawn, visit.shape[0], hyper)
    decay = losses.ridge((params.encode, params.decode), hyper.decay)
    error = (drawn.asked > 0) * (scale.expected(scores) - entries.value)
    asked = jnp.maximum(1, jnp.sum(drawn.asked > 0))
    mse = jnp.sum(error**2) / asked
    metrics = {'mse': mse, 'ratings': rows.expected(visit)}
    return costs / jnp.sum(visit < rows.n_rows) + decay, metrics

  def predict(params, data):
    units = encode_all(params, data.target.along(axis), scale)

    def rate(row, column):
      inner = jnp.einsum('...kf,...f->...k', params.decode[column], units[row])
      scores = jnp.cumsum(params.output[column] + inner, axis=-1)
      return scale.expected(scores)

    return base.oriented(axis, rate)

  return averaged(stages.gradient_stage(init, loss, epoch), predict)


def averaged(trained, predict) -> base.Stage:
  """A gradient stage whose average over steps predicts (Polyak)."""

  def init(key, data, hyper, previous):
    latest = trained.init(key, data, hyper, previous)
    return Averaged(latest.params, latest)

  def step(state, visit, data, key, hyper):
    latest, metrics = trained.step(state.latest, visit, data, key, hyper)
    params = jax.tree.map(
      lambda average, new: new + hyper.polyak * (average - new),
      state.params,
      latest.params,
    )
    return Averaged(params, latest), metrics

  return base.Stage(
    init,
    trained.epoch,
    step,
    lambda state, data: predict(state.params, data),
    name='cf-nade',
    keep=lambda state: state._replace(latest=()),
  )


def start(key, rows, hidden, scale):
  """Glorot's uniform weights; biases that alone predict a column's ratings."""
  key_in, key_out = jax.random.split(key)
  shape = rows.n_columns, scale.levels
  bound = (6 / (rows.n_columns + hidden)) ** 0.5

  def uniform(key):
    return jax.random.uniform(key, (*shape, hidden), jnp.float32, -bound, bound)

  log = ops.smoothed_log_frequencies(rows.column, scale.level(rows.value), shape)
  output = jnp.diff(log, prepend=0)
  return Params(uniform(key_in), jnp.zeros(hidden), uniform(key_out), output)


def draw(key, entries, n_rows):
  """A random number of random entries of each row is given, the rest asked."""
  key_count, key_order = jax.random.split(key)
  total = jax.ops.segment_sum(entries.weight, entries.segment, n_rows)  # D
  total = total.astype(jnp.int32)
  d = jax.random.randint(key_count, (n_rows,), 0, jnp.maximum(total, 1))
  rank = random_rank(key_order, entries, total)
  first = rank < d[entries.segment]
  share = (total / jnp.maximum(total - d, 1))[entries.segment]
  return Drawn(
    jnp.where(first, entries.weight, 0),
    jnp.where(first, 0, share * entries.weight),
  )


def random_rank(key, entries, total):
  """`[P]` places in a random order of the entries of each row, padding last."""
  places = jnp.arange(entries.weight.shape[0])
  random = jax.random.uniform(key, places.shape)
  # Segments are sorted already: the order leaves every row where it is.
  order = jnp.lexsort((random, -entries.weight, entries.segment))
  begin = jnp.cumsum(total) - total
  return jnp.zeros_like(places).at[order].set(places - begin[entries.segment])


def encode(params, entries, level, n_rows):
  """`[n_rows, H]` hidden units given some entries of each row."""
  table = jnp.cumsum(params.encode, axis=1)
  return jnp.tanh(params.hidden + ops.gather_sum(table, entries, level, n_rows))


def decode(params, hidden, entries):
  """`[P, K]` scores of the levels at the entries."""
  inner = ops.products(hidden, params.decode, entries)
  return jnp.cumsum(params.output[entries.column] + inner, axis=-1)


def cost(params, entries, level, drawn, n_rows, hyper):
  """The cost of all that is asked, and the scores of the levels, `[P, K]`."""
  given = entries._replace(weight=drawn.given)
  hidden = encode(params, given, level, n_rows)
  scores = decode(params, hidden, entries)
  costs = hyper.regular * regular(scores, level)
  costs += hyper.ordinal * ordinal(scores, level)
  return jnp.sum(drawn.asked * costs), scores


def regular(scores, level):
  """`[P]` negative log-likelihoods of the levels."""
  true = jnp.take_along_axis(scores, level[:, None], axis=-1)[:, 0]
  return jax.nn.logsumexp(scores, axis=-1) - true


def ordinal(scores, level):
  """Two chains of choices, each of the level nearest to the true one.

  Of the levels up to the true one, the highest is the likeliest; of those
  without it, the next; and so on, and likewise upwards.
  """
  levels = jnp.arange(scores.shape[-1])
  up_to = jax.lax.cumlogsumexp(scores, axis=1)
  from_on = jax.lax.cumlogsumexp(scores, axis=1, reverse=True)
  below = levels <= level[:, None]
  above = levels >= level[:, None]
  return jnp.sum(below * (up_to - scores) + above * (from_on - scores), axis=-1)


def encode_all(params, rows, scale):
  """`[R, H]` hidden units given all ratings of each row."""

  def of(ids):
    entries = rows.entries(ids)
    return encode(params, entries, scale.level(entries.value), ids.shape[0])

  return rows.for_all(of)
