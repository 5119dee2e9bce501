"""Item-item nearest neighbours of 0/1 interactions.

Deshpande and Karypis 2004, section 4.1, with the shrinkage of Cremonesi, Koren
and Turrin 2010. With `n_i` users of item i and `n_ij` users of both i and j:

  s_ij     = n_ij / (sqrt(n_i n_j) + shrink)
  score_ui = sum of s_ji over the items j of user u whose nearest include i

An epoch is one pass over the items of the target, or of both domains merged
(`config.view='merged'`); a step compares a block of items with all items. An item
keeps only its nearest neighbours, so nothing of size items x items is stored. The
logged loss is the mean distance `1 - s` of an item to its nearest neighbour.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from xdomain import base, least_squares


class Hyper(NamedTuple):
  shrink: float = 10.0  # added to the norms of two items


class Neighbours(NamedTuple):
  item: base.Array  # [T, k] int32, by falling similarity
  similarity: base.Array  # [T, k]


@functools.cache
def model(
  sizes: base.Sizes, *, neighbours: int | None = 200, batch: int = 128
) -> base.Model:
  """Nearest neighbours on the target domain.

  Args:
    sizes: of the pair.
    neighbours: neighbours that each item keeps; None for all.
    batch: items a step, B.
  """
  kept = min(neighbours or sizes.target, sizes.target)

  def init(key, data, hyper, previous):
    del key, data, hyper, previous
    empty = jnp.zeros((sizes.target, kept))
    return Neighbours(empty.astype(jnp.int32), empty)

  def epoch(key, data):
    return data.target.by_item.batches(key, batch)

  def step(state, visit, data, key, hyper):
    del key
    rows = data.target.by_item
    nearest, item = jax.lax.top_k(similarities(rows, visit, hyper.shrink), kept)
    state = Neighbours(
      state.item.at[visit].set(item, mode='drop'),
      state.similarity.at[visit].set(nearest, mode='drop'),
    )
    loss = 1 - jnp.mean(nearest[:, 0])
    return state, {'loss': loss, 'ratings': rows.expected(visit)}

  def predict_all(state, data):
    rows = data.target.by_user

    def add(k, scores):
      item = rows.column[k]
      return scores.at[state.item[item]].add(state.similarity[item])

    def of(user):
      scores = jnp.zeros(sizes.target)
      return jax.lax.fori_loop(rows.start[user], rows.start[user + 1], add, scores)

    def of_all(users):
      start = rows.start[users]
      length = rows.start[users + 1] - start
      row = jnp.arange(users.size)[:, None]

      def add(k, scores):
        item = rows.column.at[start + k].get(mode='clip')
        similarity = jnp.where((k < length)[:, None], state.similarity[item], 0)
        return scores.at[row, state.item[item]].add(similarity)

      longest = rows.longest
      scores = jnp.zeros((users.size, sizes.target))
      return jax.lax.fori_loop(0, longest, add, scores)

    if jax.default_backend() == 'cpu':  # Each user costs its own items only.
      return lambda users: jax.lax.map(of, users)
    return of_all

  def predict(state, data):
    return least_squares.chosen(predict_all(state, data))

  stage = base.Stage(init, epoch, step, predict)
  return base.Model(
    (stage,),
    predict,
    predict_all=predict_all,
    target_only=True,
    fold_in=base.reads_rows,
  )


def similarities(rows: base.Rows, ids: base.Array, shrink: base.Array) -> base.Array:
  """`[B, T]` shrunk cosines of items `ids [B]` to all items, 0 to themselves."""
  shared = least_squares.overlaps(rows, ids, rows)
  users = rows.length.astype(shared.dtype)
  own = users.at[ids].get(mode='fill', fill_value=0)
  norm = jnp.sqrt(own[:, None] * users) + shrink
  itself = ids[:, None] == jnp.arange(rows.n_rows)
  return jnp.where(itself, 0, shared / jnp.maximum(norm, 1e-6))
