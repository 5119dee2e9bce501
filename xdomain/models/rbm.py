"""RBM: a restricted Boltzmann machine over the observed ratings of a row.

Salakhutdinov, Mnih and Hinton 2007. With rows the users (U-RBM) or the items
(I-RBM) of the target domain, columns the others, a softmax unit of K levels for
each observed column, and F binary hidden units:

  p(h_j = 1 | v) = sigmoid(a_j + sum_{c observed} W[c, v_c, j])
  p(v_c = k | h) = softmax_k(b[c, k] + <W[c, k], h>)
  F(v) = -sum_c b[c, v_c] - sum_j softplus(a_j + sum_c W[c, v_c, j])
  J    = mean over rows of F(v) - F(v_T) + decay / 2 |W|^2

`v_T` are the levels of the observed columns after T steps of Gibbs sampling,
taken as constants, so that the gradient of J is contrastive divergence's, with
probabilities of the hidden units in both its statistics. T grows from stage to
stage. The paper's energy has one more term, the logarithms of the softmaxes'
normalisers, under which the two conditionals would not hold; it is left out.
A rating is predicted as the mean of its softmax given p(h | the row's ratings).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xdomain import base, stages
from xdomain.ops import levels as ops
from xdomain.ops import losses, sparse


class Hyper(NamedTuple):
  lr: float = 1e-3
  decay: float = 1e-3  # of W only


class Params(NamedTuple):
  weight: base.Array  # W [columns, K, F]
  visible: base.Array  # b [columns, K]
  hidden: base.Array  # a [F]


@functools.cache
def model(
  sizes: base.Sizes,
  *,
  axis: str = 'item',
  hidden: int = 100,
  steps: tuple[int, ...] = (1, 3),
  batch: int = 100,
  levels: int = 5,
  lowest: float = 1.0,
  step: float = 1.0,
) -> base.Model:
  """An RBM on the target domain.

  Args:
    sizes: of the pair.
    axis: 'user' for U-RBM, 'item' for I-RBM.
    hidden: hidden units, F.
    steps: Gibbs steps T, one stage of training for each.
    batch: rows a step, B.
    levels: how many rating values there are, K.
    lowest: the first of them.
    step: from one to the next; a rating counts as the nearest.
  """
  del sizes
  base.check_axis(axis)
  scale = ops.Scale(levels, lowest, step)
  stages = tuple(stage(axis, hidden, each, batch, scale) for each in steps)
  trained = functools.partial(base.column_trained, axis)
  fold_in = base.reads_rows if axis == 'user' else None
  return base.Model(
    stages, stages[-1].predict, trained, target_only=True, fold_in=fold_in
  )


def stage(
  axis: str, hidden: int, steps: int, batch: int, scale: ops.Scale
) -> base.Stage:
  """Contrastive divergence with T steps, from where the last stage ended."""

  def init(key, data, hyper, previous):
    del hyper
    if previous:
      return previous[-1].params, ()
    return start(key, data.target.along(axis), hidden, scale), ()

  def epoch(key, data):
    return data.target.along(axis).batches(key, batch)

  def loss(params, frozen, visit, data, key, hyper):
    del frozen
    rows = data.target.along(axis)
    entries = rows.entries(visit)
    level = scale.level(entries.value)
    last, logits = sample(params, entries, level, visit.shape[0], steps, key)
    fall = contrast(params, entries, level, last, visit.shape[0])
    count = rows.expected(visit)
    error = entries.weight * (scale.expected(logits) - entries.value)
    decay = losses.ridge(params.weight, hyper.decay / 2)
    metrics = {'mse': jnp.sum(error**2) / count, 'ratings': count}
    return fall / jnp.sum(visit < rows.n_rows) + decay, metrics

  def predict(state, data):
    params = state.params
    units = encode_all(params, data.target.along(axis), scale)

    def rate(row, column):
      inner = jnp.einsum('...kf,...f->...k', params.weight[column], units[row])
      return scale.expected(params.visible[column] + inner)

    return base.oriented(axis, rate)

  return stages.gradient_stage(
    init, loss, epoch, predict=predict, name=f'rbm cd-{steps}'
  )


def start(key: base.Array, rows: base.Rows, hidden: int, scale: ops.Scale):
  """Small weights; visible biases that alone predict a column's ratings."""
  shape = rows.n_columns, scale.levels
  return Params(
    0.01 * jax.random.normal(key, (*shape, hidden)),
    ops.smoothed_log_frequencies(rows.column, scale.level(rows.value), shape),
    jnp.zeros(hidden),
  )


def field(params: Params, entries: sparse.Entries, level: base.Array, n_rows: int):
  """`[n_rows, F]` logits of the hidden units given the levels of a batch."""
  return params.hidden + ops.gather_sum(params.weight, entries, level, n_rows)


def sample_hidden(logits: base.Array, uniform: base.Array):
  """Binary states, 1 where the uniform number is below the probability."""
  return (uniform < jax.nn.sigmoid(logits)).astype(logits.dtype)


def sample_level(logits: base.Array, uniform: base.Array):
  """`[P]` levels: the first whose cumulative probability exceeds `[P]`."""
  cumulative = jnp.cumsum(jax.nn.softmax(logits), axis=-1)
  return jnp.sum(cumulative[:, :-1] <= uniform[:, None], axis=-1)


def visible(params: Params, entries: sparse.Entries, hidden: base.Array):
  """`[P, K]` logits of the observed columns given the hidden units."""
  inner = ops.products(hidden, params.weight, entries)
  return params.visible[entries.column] + inner


def sample(
  params: Params,
  entries: sparse.Entries,
  level: base.Array,
  n_rows: int,
  steps: int,
  key: base.Array,
):
  """Gibbs sampling from the data: last levels `[P]`, and their logits."""
  for number in range(steps):
    of_hidden, of_level = jax.random.split(jax.random.fold_in(key, number))
    logits = field(params, entries, level, n_rows)
    uniform = jax.random.uniform(of_hidden, logits.shape)
    hidden = sample_hidden(logits, uniform)
    logits = visible(params, entries, hidden)
    level = sample_level(logits, jax.random.uniform(of_level, level.shape))
  return level, logits


def free_energy(
  params: Params, entries: sparse.Entries, level: base.Array, n_rows: int
):
  """The sum of F(v) over a batch of rows."""
  seen = entries.weight * params.visible[entries.column, level]
  hidden = jax.nn.softplus(field(params, entries, level, n_rows))
  return -jnp.sum(seen) - jnp.sum(hidden)


def contrast(
  params: Params,
  entries: sparse.Entries,
  level: base.Array,
  last: base.Array,
  n_rows: int,
):
  return free_energy(params, entries, level, n_rows) - free_energy(
    params, entries, last, n_rows
  )


def encode_all(params: Params, rows: base.Rows, scale: ops.Scale):
  """`[R, F]` probabilities of the hidden units given each row's ratings."""

  def encode(ids):
    entries = rows.entries(ids)
    level = scale.level(entries.value)
    return jax.nn.sigmoid(field(params, entries, level, ids.shape[0]))

  return rows.for_all(encode)
