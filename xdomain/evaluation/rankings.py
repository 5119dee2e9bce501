"""Ranks of held-out items, and HR, NDCG and MRR with bootstrap intervals.

A held-out item is ranked among sampled negatives (the protocol of the papers)
and among the whole catalogue without the other items that the user is known to
like. The rank in the catalogue also determines the expected value of every
sampled measure, free of sampling noise. Ties and NaN count against the model.
Krichene and Rendle (KDD 2020) explain why sampled measures can mislead.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from xdomain import base, precision, shards
from xdomain.evaluation import lists, ratings, significance
from xdomain.ops import sparse

CUTOFFS = (5, 10, 20, 50, 100)
CELLS = 1 << 21  # Scores of the catalogue held at a time, of `FEWEST` users or more:
FEWEST = 32  # a product with the vectors of fewer users takes a CPU twice as long.
GROUP = 64  # Scores of which the largest is looked at first.
QUERIES = 1 << 14  # Queries whose expected gains are computed at a time.


class Unranked(NamedTuple):
  """`1 - NDCG@cutoff` among the candidates: a validation measure for `fit`.

  Its answers are the `places` of the queries.
  """

  cutoff: int = 10

  def __call__(self, score, data, queries):
    del data
    place, tied = places(score, queries)
    real = queries.mask[:, 0]
    counts = (place < self.cutoff) & real
    gain = jnp.where(counts, 1 / jnp.log2(place + 2.0), 0.0)
    return 1 - jnp.sum(gain) / jnp.sum(real), (place, tied)


class Ranks(NamedTuple):
  """The places of `[Q]` held-out items, on the host; 0 is the first place."""

  user: np.ndarray
  item: np.ndarray
  sampled: np.ndarray  # place among its candidates
  tied: np.ndarray  # candidates with exactly the same score
  candidates: np.ndarray  # candidates, itself included
  full: np.ndarray  # place in the catalogue
  catalogue: np.ndarray  # items that it is ranked among there, itself included
  listed: np.ndarray | None = None  # [Q, N] the user's list, -1 beyond its end


def places(score: base.Score, queries: base.Queries) -> tuple[base.Array, base.Array]:
  """The place of each query's first candidate and its number of ties, both `[Q]`."""
  chex.assert_rank([queries.user, queries.item], [1, 2])
  chex.assert_equal_shape([queries.item, queries.mask])
  scores = ratings.in_blocks(score, queries.user, queries.item)
  held, others = scores[:, :1], scores[:, 1:]
  real = queries.mask[:, 1:]
  place = jnp.sum(~(others < held) & real, axis=1)
  return place, jnp.sum((others == held) & real, axis=1)


def ranks(
  model: base.Model,
  state: base.Tree,
  data: base.Arrays,
  queries: base.Queries,
  known: base.Rows,
  sampled: tuple[np.ndarray, ...] | None = None,
  seen: base.Rows | None = None,
) -> Ranks:
  """Ranks held-out items by a trained model.

  Args:
    model: the method.
    state: its trained state, as `model.predict` takes it.
    data: the interactions that predictions may use.
    queries: the held-out item first, then its negatives.
    known: `[U, items]` every item that a user is known to like, held out or not;
      the catalogue that a held-out item is ranked in excludes them.
    sampled: the `places` of the queries; computed by default.
    seen: `[U, items]` the items that a user's list leaves out; by default those that
      are known.
  """
  chex.assert_equal_shape([queries.item, queries.gain, queries.mask])
  chex.assert_shape(queries.item, (*queries.user.shape, None))
  seen = known if seen is None else seen
  item = np.asarray(queries.item)[:, 0]
  place, tied = sampled or _places(model.predict, state, data, queries)
  block = _users_at_once(known, item.size)
  full, catalogue, listed = _in_catalogue(
    model.predict,
    model.predict_all,
    block,
    _most(known, queries.user, block),
    state,
    data,
    queries.user,
    item,
    known,
    seen,
  )
  candidates = np.asarray(queries.mask).sum(axis=1)
  columns = queries.user, item, place, tied, candidates, full, catalogue, listed
  return Ranks(*shards.fetch(columns))


@functools.partial(jax.jit, static_argnames='predict')
@precision.full
def _places(predict, state, data, queries):
  return places(predict(*shards.whole((state, data))), queries)


def _users_at_once(known, most):
  return int(np.clip(CELLS // known.n_columns, FEWEST, max(1, most)))


def _most(known, users, block):
  """The largest number of known items that the users of one block have."""
  length = np.append(np.diff(np.asarray(known.start)), 0)[_blocks(users, block, -1)]
  return max(1, int(length.sum(axis=1).max()))


def _blocks(ids, block, padding):
  """`[N, block]` ids in their order."""
  ids = np.asarray(ids)
  return np.pad(ids, (0, -ids.size % block), constant_values=padding).reshape(-1, block)


def best(
  model: base.Model,
  state: base.Tree,
  data: base.Arrays,
  known: base.Rows,
  users: np.ndarray,
  top: int,
  trained_on: base.Arrays | None = None,
) -> tuple[np.ndarray, np.ndarray]:
  """The items with the highest scores among those a user is not known to like.

  Args:
    model: the method.
    state: its trained state, as `model.predict` takes it.
    data: the interactions that predictions may use.
    known: `[U, items]` every item that a user has interacted with.
    users: `[Q]` user ids.
    top: the number of items for each user.
    trained_on: the training data of a rating method: predictions that rest on no
      training data become the mean rating, as in `ratings.rate`.

  Returns:
    Items and scores, both `[Q, top]`, best first; scores are -inf once a user has
    no items left.
  """
  chex.assert_rank(users, 1)
  top = min(top, known.n_columns)
  block = _users_at_once(known, len(users))
  found = _best(
    model.predict,
    model.predict_all,
    model.trained,
    _most(known, users, block),
    top,
    shards.number(state),
    state,
    data,
    _blocks(users, block, known.n_rows),
    known,
    trained_on,
  )
  n = len(users)
  item, score = (x.reshape(-1, top)[:n] for x in shards.fetch(found))
  return item, score


@functools.partial(
  jax.jit,
  static_argnames=('predict', 'predict_all', 'trained', 'capacity', 'top', 'parts'),
)
@precision.full
def _best(
  predict,
  predict_all,
  trained,
  capacity,
  top,
  parts,
  state,
  data,
  blocks,
  known,
  trained_on,
):
  known, trained_on = shards.whole((known, trained_on))
  score_all = all_scores(predict, predict_all, known.n_columns, state, data)

  def of(users):
    there = jnp.minimum(users, known.n_rows - 1)
    scores = score_all(there)  # [B, T]
    if trained_on is not None:
      items = jnp.broadcast_to(jnp.arange(known.n_columns), scores.shape)
      sure = trained(trained_on, there[:, None], items)
      scores = jnp.where(sure, scores, trained_on.target.by_item.mean())
    other = _not_known(known, users, capacity) & ~jnp.isnan(scores)
    scores, items = largest(jnp.where(other, scores, -jnp.inf), top, parts)
    return items, scores

  return jax.lax.map(of, blocks)


def largest(
  scores: base.Array, top: int, parts: int = 1
) -> tuple[base.Array, base.Array]:
  """The `[B, top]` largest scores of `[B, T]` and their items, as `jax.lax.top_k`.

  Those of each part of the items come first, then the largest of these: where items are
  in as many shards, no device holds all scores of a user.
  """
  if parts == 1:
    return _largest(scores, top)
  n_users, n_items = scores.shape
  each = -(-n_items // parts)
  padding = (0, 0), (0, parts * each - n_items)
  scores = jnp.pad(scores, padding, constant_values=-jnp.inf)
  scores, items = jax.lax.top_k(scores.reshape(n_users, parts, each), min(top, each))
  items += each * jnp.arange(parts)[:, None]
  scores, at = jax.lax.top_k(scores.reshape(n_users, -1), top)
  return scores, jnp.take_along_axis(items.reshape(n_users, -1), at, axis=1)


def _largest(scores, top):
  """`jax.lax.top_k` of rows, which takes a CPU at least twice as long.

  The largest scores are in the groups with the largest maxima. Of equal scores the
  first count, and so do the first of equal groups.
  """
  n_users, n_items = scores.shape
  n_groups = n_items // GROUP
  if n_groups < 2 * top:
    return jax.lax.top_k(scores, top)
  end = n_groups * GROUP  # A padding of the scores would be a copy of them.
  maxima = jnp.max(scores[:, :end].reshape(n_users, n_groups, GROUP), axis=2)
  if end < n_items:
    last = jnp.max(scores[:, end:], axis=1, keepdims=True)
    maxima = jnp.concatenate([maxima, last], axis=1)
  group = jnp.sort(jax.lax.top_k(maxima, top)[1], axis=1)
  items = (group[..., None] * GROUP + jnp.arange(GROUP)).reshape(n_users, -1)
  some = jnp.take_along_axis(scores, jnp.minimum(items, n_items - 1), axis=1)
  best, at = jax.lax.top_k(jnp.where(items < n_items, some, -jnp.inf), top)
  return best, jnp.take_along_axis(items, at, axis=1)


def _not_known(known, users, capacity):
  """`[B, T]` whether an item is outside of what users `[B]` are known to like."""
  entries = sparse.flatten_rows(known.start, known.column, known.value, users, capacity)
  row = jnp.where(entries.weight > 0, entries.segment, users.shape[0])
  other = jnp.ones((users.shape[0], known.n_columns), bool)
  return other.at[row, entries.column].set(False, mode='drop')


def _in_catalogue(
  predict, predict_all, block, capacity, state, data, users, items, known, seen
):
  """Places in the catalogue and its sizes, both `[Q]`, and lists `[Q, N]`."""
  blocks = _blocks(users, block, known.n_rows), _blocks(items, block, 0)
  parts = shards.number(state)
  found = _count(
    predict, predict_all, capacity, parts, state, data, blocks, known, seen
  )
  n = users.shape[0]
  place, size, listed = (
    each.reshape(-1, *each.shape[2:])[:n] for each in shards.fetch(found)
  )
  return place, size, listed


@functools.partial(
  jax.jit, static_argnames=('predict', 'predict_all', 'capacity', 'parts')
)
@precision.full
def _count(predict, predict_all, capacity, parts, state, data, blocks, known, seen):
  known, seen = shards.whole((known, seen))
  score_all = all_scores(predict, predict_all, known.n_columns, state, data)

  def count(block):
    users, items = block
    scores = score_all(jnp.minimum(users, known.n_rows - 1))  # [B, T]
    held = jnp.take_along_axis(scores, items[:, None], axis=1)
    # Left out by place: XLA may compute a score twice and round it differently.
    other = _not_known(known, users, capacity)
    new = _not_known(seen, users, capacity) & ~jnp.isnan(scores)
    best, listed = largest(
      jnp.where(new, scores, -jnp.inf), min(lists.LISTED, known.n_columns), parts
    )
    return (
      jnp.sum(~(scores < held) & other, axis=1),
      1 + jnp.sum(other, axis=1),
      jnp.where(best > -jnp.inf, listed, -1),
    )

  return jax.lax.map(count, blocks)


def all_scores(
  predict: base.Predict,
  predict_all: Callable | None,
  n_items: int,
  state: base.Tree,
  data: base.Arrays,
):
  """`users [B] -> [B, n_items]`, the scores of the first `n_items` items."""
  state, data = shards.whole((state, data))
  if predict_all is not None:
    everything = predict_all(state, data)
    return lambda users: everything(users)[:, :n_items]
  score = predict(state, data)
  items = jnp.arange(n_items)
  return lambda users: score(users, jnp.broadcast_to(items, (users.shape[0], n_items)))


# --- Measures, on the host --------------------------------------------------


def names(cutoffs: Sequence[int] = CUTOFFS) -> list[str]:
  """The names of the measures, in the order of `gains`."""
  return [f'{name}@{k}' for k in cutoffs for name in ('hr', 'ndcg', 'mrr')]


def gains(place: np.ndarray, cutoffs: Sequence[int] = CUTOFFS) -> np.ndarray:
  """`[Q, M]` each query's contribution to each measure (SharedVAE, eq. 11-12)."""
  place = np.asarray(place, np.float64)
  chex.assert_rank(place, 1)
  place = place[:, None]
  by_place = np.stack(
    [np.ones_like(place), 1 / np.log2(place + 2), 1 / (place + 1)], axis=-1
  )
  within = place < np.array(cutoffs)  # [Q, cutoffs]
  return (within[..., None] * by_place).reshape(place.shape[0], -1)


def expected_gains(
  place: np.ndarray,
  size: np.ndarray,
  negatives: int = 99,
  cutoffs: Sequence[int] = CUTOFFS,
) -> np.ndarray:
  """`[Q, M]` expected gains among sampled negatives.

  Of `size - 1` other items, `place` rank above the held-out one. The number of
  those among negatives drawn without replacement is hypergeometric (Krichene and
  Rendle 2020, section 4).

  Args:
    place: `[Q]` places in the catalogue.
    size: `[Q]` items in the catalogue, the held-out one included.
    negatives: the number drawn; all of the others if they are fewer.
    cutoffs: of the measures.
  """
  from scipy import special  # Imported where it is used, to start faster.

  place, size = (np.asarray(x, np.int64) for x in (place, size))
  chex.assert_rank(place, 1)
  chex.assert_equal_shape([place, size])
  k = np.arange(max(cutoffs))  # A place among the negatives.
  gain = gains(k, cutoffs)
  log_factorial = special.gammaln(np.arange(max(2, size.max(initial=0))) + 1.0)
  expected = np.empty((place.size, gain.shape[1]))
  for begin in range(0, place.size, QUERIES):
    some = slice(begin, begin + QUERIES)
    others = np.maximum(size[some, None] - 1, 1)
    drawn = np.minimum(negatives, size[some, None] - 1)
    above = place[some, None]
    expected[some] = _hypergeometric(k, others, above, drawn, log_factorial) @ gain
  return expected


def _hypergeometric(k, others, above, drawn, log_factorial):
  """The probability that `k` of `drawn` items are among the `above` of `others`.

  `scipy.stats.hypergeom` computes the same and takes up to 20 ms a query.
  """

  def log_binomial(n, k):
    k = np.clip(k, 0, n)
    return log_factorial[n] - log_factorial[k] - log_factorial[n - k]

  below = others - above
  log = log_binomial(above, k) + log_binomial(below, drawn - k)
  possible = (k <= above) & (k <= drawn) & (drawn - k <= below)
  return np.where(possible, np.exp(log - log_binomial(others, drawn)), 0)


def ranking_measures(ranks: Ranks, seed: int = 0) -> dict:
  """Means over queries, with 95 % percentile bootstrap intervals over users.

  Returns:
    `sampled`, `full` and `expected`, each a dict by measure, with intervals as
    `..._interval`; `..._macro`, means over users of each user's mean, if some
    user has several queries; `tie_gap`, the rise of HR@10 if ties counted for
    the model; `list`, the measures of one list a user with all held-out items
    (`lists.retrieval`), if some user has several; the numbers of `queries` and `users`.
  """
  chex.assert_rank(ranks.user, 1)
  chex.assert_equal_shape([ranks.user, ranks.sampled, ranks.full])
  kinds = {
    'sampled': gains(ranks.sampled),
    'full': gains(ranks.full),
    'expected': expected_gains(ranks.full, ranks.catalogue),
  }
  several = np.bincount(ranks.user).max() > 1
  together = np.concatenate(list(kinds.values()), axis=1)
  bounds = interval(ranks.user, together, seed=seed).T
  measures = {}
  for kind, bound in zip(kinds, np.split(bounds, len(kinds))):
    gain = kinds[kind]
    measures[kind] = _named(gain.mean(axis=0))
    measures[f'{kind}_interval'] = _named(bound)
    if several:
      totals, counts = _per_user(ranks.user, gain)
      measures[f'{kind}_macro'] = _named((totals / counts).mean(axis=0))
  if several:
    users, of_list = lists.retrieval(ranks.user, ranks.full)
    bound = interval(users, of_list, seed=seed)
    for name, value in (('list', of_list.mean(axis=0)), ('list_interval', bound.T)):
      measures[name] = dict(zip(lists.names(), value.tolist()))
  for_the_model = ranks.sampled - ranks.tied
  return measures | {
    'tie_gap': float(np.mean(for_the_model < 10) - np.mean(ranks.sampled < 10)),
    'queries': int(ranks.user.size),
    'users': int(np.unique(ranks.user).size),
  }


def interval(
  user: np.ndarray, gain: np.ndarray, seed: int = 0, resamples: int = 1000
) -> np.ndarray:
  """`[2, M]` 95 % percentile bootstrap interval over users of mean gains.

  Args:
    user: `[Q]` the user of each query.
    gain: `[Q, M]` gains, or differences between two models' gains.
    seed: of the resampling.
    resamples: the number of bootstrap samples.
  """
  chex.assert_shape(gain, (*user.shape, None))
  totals, counts = _per_user(user, gain)
  sums = significance.resampled_sums(np.hstack([totals, counts]), resamples, seed)
  return np.quantile(sums[:, :-1] / sums[:, -1:], (0.025, 0.975), axis=0)


def _per_user(user, gain):
  """Sums of gains `[U, M]` and numbers of queries `[U, 1]` of users with queries."""
  order = np.argsort(user, kind='stable')
  _, first, counts = np.unique(user[order], return_index=True, return_counts=True)
  totals = np.add.reduceat(np.asarray(gain, np.float64)[order], first, axis=0)
  return totals, counts[:, None].astype(np.float64)


def _named(values):
  return {name: np.asarray(value).tolist() for name, value in zip(names(), values)}
