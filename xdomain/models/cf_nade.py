"""CF-NADE: the ratings of a row, one after the other, each given those before.

Zheng, Tang, Ding and Zhou, ICML 2016, the version that shares parameters
between rating values (CF-NADE-S). With rows the users or the items (the
default, and the better) of the target domain, columns the others, and levels
`0..K-1`:

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

Departures from the released code: its term l_j + 1 times Q[j] is left out,
because it equals W[j, k] + Q[j] for every k and was no better on validation.
Its biases begin at differences of log(count + 1e-8), under which a level that
was not seen costs without bound; here frequencies are smoothed, and a column
without ratings predicts the mean of all.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from xdomain import base, nets, stages
from xdomain.ops import levels as ops
from xdomain.ops import losses, sparse

# Each level's matrix [columns, H] by Glorot's rule.
GLOROT = nn.initializers.glorot_uniform(in_axis=0, out_axis=2, batch_axis=1)


class Hyper(NamedTuple):
  lr: float = 1e-3
  decay: float = 0.02  # of W and V
  regular: float = 0.0  # weight of the negative log-likelihood
  ordinal: float = 1.0  # weight of the ordinal cost
  polyak: float = 0.995  # how much of the average a step keeps


class Encoder(nn.Module):
  """From given ratings to hidden units: `table` is W, `bias` is c."""

  columns: int
  levels: int
  width: int

  @nn.compact
  def __call__(self, entries, level, n_rows):
    """`[n_rows, H]` hidden units h, given some entries at levels `[P]`."""
    shape = self.columns, self.levels, self.width
    table = jnp.cumsum(self.param('table', GLOROT, shape), axis=1)
    bias = self.param('bias', nets.zeros, (self.width,))
    return jnp.tanh(bias + ops.gather_sum(table, entries, level, n_rows))


class Decoder(nn.Module):
  """From hidden units to scores of levels: `table` is V, `bias` is b."""

  columns: int
  levels: int
  width: int

  def setup(self):
    shape = self.columns, self.levels, self.width
    self.table = self.param('table', GLOROT, shape)
    self.bias = self.param('bias', nets.zeros, shape[:2])

  def __call__(self, hidden, entries):
    """`[P, K]` scores s of the levels at the entries."""
    inner = ops.products(hidden, self.table, entries)
    return jnp.cumsum(self.bias[entries.column] + inner, axis=-1)

  def at(self, hidden: base.Array, columns: base.Array):
    """`[..., K]` scores by hidden units `[..., H]` at columns `[...]`."""
    inner = jnp.einsum('...kf,...f->...k', self.table[columns], hidden)
    return jnp.cumsum(self.bias[columns] + inner, axis=-1)


class CFNADE(nn.Module):
  """The `encoder` and the `decoder`."""

  columns: int
  levels: int
  width: int

  def setup(self):
    self.encoder = Encoder(self.columns, self.levels, self.width)
    self.decoder = Decoder(self.columns, self.levels, self.width)

  def __call__(self, entries, level, given, n_rows):
    """`[P, K]` scores at all entries, where `given [P]` of them are read."""
    hidden = self.encoder(entries._replace(weight=given), level, n_rows)
    return self.decoder(hidden, entries)

  def encode(self, entries: sparse.Entries, level: base.Array, n_rows: int):
    """`[n_rows, H]` hidden units given all entries."""
    return self.encoder(entries, level, n_rows)

  def scores(self, hidden: base.Array, columns: base.Array):
    """`[..., K]` scores by hidden units `[..., H]` at columns `[...]`."""
    return self.decoder.at(hidden, columns)


class Averaged(NamedTuple):
  """The average that predicts, and the state that is trained."""

  params: base.Tree
  latest: stages.GradientState


class Drawn(NamedTuple):
  """The entries of a batch that are given, and the weights of the others."""

  given: base.Array  # [P] 0 or 1
  weight: base.Array  # [P] D / (D - d) for an entry that is predicted, else 0


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
  base.check_axis(axis)
  columns = sizes.target if axis == 'user' else sizes.users
  network = CFNADE(columns, levels, hidden)
  only = stage(axis, network, batch, ops.Scale(levels, lowest, step))
  trained = functools.partial(base.column_trained, axis)
  fold_in = base.reads_rows if axis == 'user' else None
  return base.Model((only,), only.predict, trained, target_only=True, fold_in=fold_in)


def stage(axis: str, network: CFNADE, batch: int, scale: ops.Scale) -> base.Stage:
  """Trained by Adam; the average over steps is validated, and predicts."""

  def init(key, data, hyper, previous):
    del hyper, previous
    return start(key, network, data.target.along(axis), scale), ()

  def epoch(key, data):
    return data.target.along(axis).batches(key, batch)

  def loss(params, frozen, visit, data, key, hyper):
    del frozen
    rows = data.target.along(axis)
    entries = rows.entries(visit)
    level = scale.level(entries.value)
    drawn = draw(key, entries, visit.size)
    scores = nets.apply(network, params, entries, level, drawn.given, visit.size)
    tables = [layer['table'] for layer in params.values()]
    decay = losses.ridge(tables, hyper.decay)
    error = (drawn.weight > 0) * (scale.expected(scores) - entries.value)
    mse = jnp.sum(error**2) / jnp.maximum(1, jnp.sum(drawn.weight > 0))
    metrics = {'mse': mse, 'ratings': rows.expected(visit)}
    total = cost(scores, level, drawn, hyper)
    return total / jnp.sum(visit < rows.n_rows) + decay, metrics

  def predict(params, data):
    rows = data.target.along(axis)

    def encode(ids):
      entries = rows.entries(ids)
      level = scale.level(entries.value)
      return nets.apply(network, params, entries, level, ids.size, method='encode')

    units = rows.for_all(encode)  # [R, H]

    def rate(row, column):
      scores = nets.apply(network, params, units[row], column, method='scores')
      return scale.expected(scores)

    return base.oriented(axis, rate)

  return averaged(stages.gradient_stage(init, loss, epoch), predict)


def averaged(
  trained: base.Stage, predict: Callable[[base.Tree, base.Arrays], base.Score]
) -> base.Stage:
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


def start(
  key: base.Array, network: CFNADE, rows: base.Rows, scale: ops.Scale
) -> base.Tree:
  """Fresh parameters, whose biases alone predict a column's ratings."""
  entries = nets.no_entries()
  level = scale.level(entries.value)
  params = nets.init(network, key, entries, level, entries.weight, 1)
  shape = network.columns, network.levels
  log = ops.smoothed_log_frequencies(rows.column, scale.level(rows.value), shape)
  decoder = params['decoder'] | {'bias': jnp.diff(log, prepend=0)}
  return params | {'decoder': decoder}


def draw(key: base.Array, entries: sparse.Entries, n_rows: int):
  """Gives a random number of random entries of each row; the rest are predicted."""
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


def random_rank(key: base.Array, entries: sparse.Entries, total: base.Array):
  """`[P]` places in a random order of the entries of each row, padding last."""
  places = jnp.arange(entries.weight.shape[0])
  random = jax.random.uniform(key, places.shape)
  # Segments are sorted already: the order leaves every row where it is.
  order = jnp.lexsort((random, -entries.weight, entries.segment))
  begin = jnp.cumsum(total) - total
  return jnp.zeros_like(places).at[order].set(places - begin[entries.segment])


def cost(
  scores: base.Array, level: base.Array, drawn: Drawn, hyper: Hyper
) -> base.Array:
  """The cost of all predicted entries, by their scores `[P, K]`."""
  costs = hyper.regular * regular(scores, level)
  costs += hyper.ordinal * ordinal(scores, level)
  return jnp.sum(drawn.weight * costs)


def regular(scores: base.Array, level: base.Array):
  """`[P]` negative log-likelihoods of the levels."""
  true = jnp.take_along_axis(scores, level[:, None], axis=-1)[:, 0]
  return jax.nn.logsumexp(scores, axis=-1) - true


def ordinal(scores: base.Array, level: base.Array):
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
