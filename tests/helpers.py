"""Small pairs, ready to train on, and the numbers of another implementation."""

import functools
import json
import pathlib
from typing import NamedTuple

import jax
import numpy as np

from xdomain import base
from xdomain.data import device, splits, synthetic, types
from xdomain.evaluation import rankings, ratings
from xdomain.models import bias
from xdomain.training import loop


class Small(NamedTuple):
  split: types.Split
  sizes: base.Sizes
  data: base.Arrays
  valid: types.PerDomain
  test: types.PerDomain
  measure: ratings.RatingError | rankings.Unranked


@functools.cache
def small(seed=0, split=0, **sizes) -> Small:
  """A planted pair on the device: 60 users, 40 and 50 items by default."""
  dataset = synthetic.pair(seed, **sizes)
  rng = np.random.default_rng(seed)
  side = rng.normal(size=(dataset.pair.target.n_users, 4))
  split = splits.by_ratio(dataset.pair._replace(side=side), seed + split)
  return Small(
    split,
    device.sizes(split.train),
    device.put(split.train),
    types.PerDomain(*map(device.rating_queries, split.valid)),
    types.PerDomain(*map(device.rating_queries, split.test)),
    ratings.RatingError(dataset.scale),
  )


@functools.cache
def implicit(seed=0, **sizes) -> Small:
  """A planted pair of positives, one held out of each user, with vectors."""
  dataset = synthetic.implicit(seed, **sizes)
  split = splits.leave_one_out(dataset.pair, seed, negatives=20)
  valid, test = (
    types.PerDomain(None, device.ranking_queries(held.target))
    for held in (split.valid, split.test)
  )
  return Small(
    split,
    device.sizes(split.train),
    device.put(split.train),
    valid,
    test,
    rankings.Unranked(),
  )


@functools.cache
def planted(source_ratings=2000) -> tuple[Small, float]:
  """A pair with a taste to be found, and what the bias model reaches."""
  pair = small(
    users=400,
    source=40,
    target=80,
    source_ratings=source_ratings,
    target_ratings=12000,
    noise=0.2,
  )
  floor = loop.fit(
    bias.model(pair.sizes),
    jax.random.key(0),
    pair.data,
    bias.Hyper(),
    epochs=10,
    valid=pair.valid,
    measure=pair.measure,
  )
  return pair, float(floor.best_value)


@functools.cache
def planted_implicit() -> tuple[Small, float]:
  """Positives with a taste to be found, and what popularity reaches."""
  pair = implicit(
    0,
    users=400,
    source=60,
    target=80,
    source_ratings=16000,
    target_ratings=16000,
  )
  popular = pair.data.target.by_item.length.astype(float)
  floor = pair.measure(lambda _, items: popular[items], None, pair.valid.target)
  return pair, float(floor)


def ratings_of(events, n_users, n_items) -> types.Ratings:
  """Ratings from a list of [user, item, value]."""
  user, item, value = np.array(events, np.float64).reshape(-1, 3).T
  return types.Ratings(
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
