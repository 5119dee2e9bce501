"""Item-item nearest neighbours on ratings, around the bias model.

Sarwar et al. 2001; Koren 2010, eq. 3, on the target domain. With `r_ui` the
residual of the bias model, and sums over the users `C` of both items:

  rho_ij  = sum r_ui r_uj / sqrt(sum r_ui^2 sum r_uj^2)
  s_ij    = rho_ij (|C| - 1) / (|C| - 1 + shrink)
  yhat_ui = mean + b_u + b_i + sum_{j in N} s_ij r_uj / sum_{j in N} s_ij

`N` are the most similar of the items that the user rated. Only positive
similarities count; without any, the bias model predicts. The shrinkage is that of
Koren and Bell 2011, in which one common user is no evidence; Koren 2010 has `|C|`
for `|C| - 1`.

There are two stages: the bias model, and one pass over the items, whose step
compares a block of items with all items. Each item stores its nearest neighbours
alone, so nothing of size items x items is stored.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xdomain import base
from xdomain.models import bias
from xdomain.ops import sparse

IN_FLIGHT = 1 << 22  # similarities that are read at a time


class Hyper(NamedTuple):
  shrink: float = 100.0  # common users, less one, that halve a similarity
  penalty: float = 4.0  # of the bias model


class Neighbours(NamedTuple):
  biases: bias.Biases
  item: base.Array  # [T, kept] int32, by falling similarity
  similarity: base.Array  # [T, kept], 0 where not positive


@functools.cache
def model(
  sizes: base.Sizes, *, neighbours: int = 20, kept: int = 1000, batch: int = 128
) -> base.Model:
  """Returns nearest neighbours on the target domain.

  Args:
    sizes: numbers of users and items.
    neighbours: the largest number of rated items that a prediction averages.
    kept: similar items that each item stores; all of them is exact.
    batch: items of a step, B.
  """
  kept = min(kept, sizes.target)
  floor = bias.model(sizes)

  def init(key, data, hyper, previous):
    del key, data, hyper
    empty = jnp.zeros((sizes.target, kept))
    return Neighbours(previous[0], empty.astype(jnp.int32), empty)

  def epoch(key, data):
    return data.target.by_item.batches(key, batch)

  def step(state, visit, data, key, hyper):
    del key
    rest = residuals(floor.predict(state.biases, data), data.target.by_item)
    nearest, item = jax.lax.top_k(similarities(rest, visit, hyper.shrink), kept)
    state = state._replace(
      item=state.item.at[visit].set(item, mode='drop'),
      similarity=state.similarity.at[visit].set(nearest, mode='drop'),
    )
    loss = jnp.mean(rest.value**2)  # what is left for the neighbours to explain
    return state, {'loss': loss, 'ratings': rest.expected(visit)}

  def predict(state, data):
    baseline = floor.predict(state.biases, data)
    return functools.partial(_score, state, data, baseline, neighbours)

  biases = floor.stages[0]._replace(name='biases')
  near = base.Stage(init, epoch, step, predict, name='neighbours')

  def fold_in(state, data, new, hyper):
    of_bias = bias.Hyper(hyper.penalty)
    assert floor.fold_in is not None
    return state._replace(biases=floor.fold_in(state.biases, data, new, of_bias))

  return base.Model((biases, near), predict, target_only=True, fold_in=fold_in)


def residuals(baseline: base.Score, by_item: base.Rows):
  """Returns the rows with residuals from a baseline in place of ratings."""
  predicted = baseline(by_item.column, by_item.row[:, None])[:, 0]
  return dataclasses.replace(by_item, value=by_item.value - predicted)


def similarities(rest: base.Rows, ids: base.Array, shrink: base.Array | float):
  """`[B, T]` similarities of a batch of items to all, 0 where not positive.

  Args:
    rest: residuals by item, `[T, U]`.
    ids: `[B]` items.
    shrink: common users, less one, that halve a similarity.
  """
  value, seen = sparse.cells(rest.entries(ids), ids.shape[0], rest.n_columns)
  itself = ids[:, None] == jnp.arange(rest.n_rows)

  def to_block(others):
    entries = rest.entries(others)

    def sums(table, power):  # over the users of each of the others
      powered = entries._replace(value=entries.weight * entries.value**power)
      return sparse.gather_sum(table.T, powered, others.shape[0])

    product = sums(value, 1)  # [b, B]
    norm = jnp.sqrt(sums(value**2, 0) * sums(seen, 2))
    pairs = jnp.maximum(sums(seen, 0) - 1, 0)
    shrunk = pairs / jnp.maximum(pairs + shrink, 1e-6)
    return shrunk * product / jnp.maximum(norm, 1e-6)

  similar = rest.for_all(to_block).T
  return jnp.where(itself, 0, jnp.maximum(similar, 0))


def _score(state, data, baseline, neighbours, users, items):
  """`[B, K]` predictions for users `[B]` and items `[B, K]`."""
  rows = data.target.by_user
  slots = jnp.arange(max(1, rows.longest))

  def shift(query):
    user, items = query
    ids = jnp.where(slots < rows.length[user], rows.start[user] + slots, rows.n_entries)
    rated = rows.events(ids)
    residual = rated.value - baseline(user[None], rated.column[None])[0]
    zeros = jnp.zeros(rows.n_columns)
    residuals_of_user = zeros.at[rated.column].add(rated.weight * residual)
    seen = zeros.at[rated.column].add(rated.weight)
    near = state.item[items]  # [K, kept]
    similarity = state.similarity[items] * seen[near]
    nearest = jnp.cumsum(similarity > 0, axis=1) <= neighbours
    weight = similarity * nearest
    total = jnp.maximum(jnp.sum(weight, axis=1), 1e-6)
    return jnp.sum(weight * residuals_of_user[near], axis=1) / total

  batch = max(1, IN_FLIGHT // (items.shape[1] * state.item.shape[1]))
  return baseline(users, items) + jax.lax.map(shift, (users, items), batch_size=batch)
