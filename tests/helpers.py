"""Small pairs, ready to train on, and the numbers of another implementation."""

import functools
import json
import pathlib
from typing import NamedTuple

import numpy as np

from xdomain import base, evaluate, ranking
from xdomain.data import arrays, splits, synthetic


class Small(NamedTuple):
  split: base.Split
  sizes: base.Sizes
  data: base.Arrays
  valid: base.Held
  test: base.Held
  measure: evaluate.RatingError | ranking.Unranked


@functools.cache
def small(seed=0, **sizes) -> Small:
  """A planted pair on the device: 60 users, 40 and 50 items by default."""
  dataset = synthetic.pair(seed, **sizes)
  rng = np.random.default_rng(seed)
  side = rng.normal(size=(dataset.pair.target.n_users, 4))
  split = splits.by_ratio(dataset.pair._replace(side=side), seed)
  return Small(
    split,
    arrays.sizes(split.train),
    arrays.put(split.train),
    base.Held(*map(arrays.rating_queries, split.valid)),
    base.Held(*map(arrays.rating_queries, split.test)),
    evaluate.RatingError(dataset.scale),
  )


@functools.cache
def implicit(seed=0) -> Small:
  """A planted pair of positives, one held out of each user, with vectors."""
  dataset = synthetic.implicit(seed)
  split = splits.leave_one_out(dataset.pair, seed, negatives=20)
  valid, test = (
    base.Held(None, arrays.ranking_queries(held.target))
    for held in (split.valid, split.test)
  )
  return Small(
    split, arrays.sizes(split.train), arrays.put(split.train), valid, test,
    ranking.Unranked(),
  )  # fmt: skip


def ratings(events, n_users, n_items) -> base.Ratings:
  """Ratings from a list of [user, item, value]."""
  user, item, value = np.array(events, np.float64).reshape(-1, 3).T
  return base.Ratings(
    user.astype(np.int32),
    item.astype(np.int32),
    value.astype(np.float32),
    np.zeros(0, np.int64),
    n_users,
    n_items,
  )


def golden(name):
  """Numbers of an independent float64 implementation."""
  path = pathlib.Path(__file__).parent / 'models' / f'{name}.json'
  return json.loads(path.read_text())


def wave(shape, seed, scale=0.3, shift=0.0):
  """The parameters of the golden numbers: no random generator is shared."""
  n = np.arange(np.prod(shape, dtype=int))
  return (shift + scale * np.sin(1.3 * (n + 1) + 0.7 * seed)).reshape(shape)
