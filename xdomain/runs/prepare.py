"""A `Spec` -> its data, split and on the device."""

import inspect
from collections.abc import Callable, Collection
from typing import NamedTuple

import jax
import numpy as np

from xdomain import base, wording
from xdomain.data import audit, cache, device, named, sources, splits, types, views
from xdomain.runs import memory, protocols, sharing
from xdomain.runs import spec as specs

Say = Callable[[str], object]

# What of the pair a method is given.
VIEWS = {
  'both': lambda dataset, pair: pair,
  'alone': lambda dataset, pair: views.alone(pair),
  'merged': lambda dataset, pair: views.joint(pair),
  'apart': views.apart,  # each of several sources on its own
}


class Prepared(NamedTuple):
  """Data that is ready to train on and to be evaluated."""

  dataset: types.Dataset
  split: types.Split
  valid: types.PerDomain  # of Queries
  test: types.PerDomain  # of Queries
  hashes: dict[str, str]
  view: str
  sizes: base.Sizes
  data: base.Arrays
  shown: base.Arrays | None  # to predictions, where that is more than `data`


@sharing.once
def prepare(spec: specs.Spec, say: Say = print) -> Prepared:
  """Reads, filters and splits a spec's data, and puts it on the device.

  Of several processes the first alone does, and all map its arrays.

  Args:
    spec: of one run.
    say: called with what is worth knowing on the way.

  Raises:
    DataError: the data cannot be read, or cannot be split.
    SpecError: a field is wrong.
  """
  protocol = protocols.of(spec)
  dataset, split = split_of(spec, say)
  say(audit.summary(dataset, split))
  if spec.data.get('most_users'):
    say(
      f'a first try: {dataset.pair.target.n_users:,} users and at most {spec.epochs}'
      ' epochs, so measures are not those of a full run'
    )
  hashes = {'data': cache.digest(dataset), 'split': splits.digest(split)}
  if spec.reviews:
    split = _with_reviews(spec, dataset, split, say)
  prepared = of_split(dataset, split, protocol, spec.view, hashes)
  if 'negatives' in spec.split:
    _say_if_few(spec.split['negatives'], prepared.test.target, say)
  return prepared


def prepare_apart(spec: specs.Spec, seeds: Collection[int], say: Say) -> Prepared:
  """A split for a search of a ranking that sees no interaction that a seed tests on.

  The test interactions of all seeds are taken out of the data, and the rest is split
  by the same protocol. Both of its held-out parts are for validation. Files that are
  split already keep their own validation part.

  Args:
    spec: of one run; its seed is that of the split of the rest.
    seeds: whose test interactions are taken out.
    say: called with what is worth knowing on the way.

  Raises:
    DataError: the data cannot be read, or the rest cannot be split.
  """
  dataset = sources.dataset(say=say, **spec.data)
  if dataset.folds:  # Every seed has the same test.
    return prepare(spec, say)
  rest = dataset.pair.target
  for seed in seeds:
    tested = _split(specs.replaced(spec, seed=seed), dataset).test.target
    rest = views.without(rest, tested.user, tested.item)
  left = dataset._replace(pair=dataset.pair._replace(target=rest))
  split = _split(spec, left)
  parts = split.valid.target, split.test.target
  held = types.HeldOut(*(np.concatenate(each) for each in zip(*parts)))
  both = types.PerDomain(None, held)
  split = split._replace(valid=both, test=both)
  hashes = {'data': cache.digest(dataset), 'split': splits.digest(split)}
  return of_split(left, split, protocols.of(spec), spec.view, hashes)


def split_of(spec: specs.Spec, say: Say = print) -> tuple[types.Dataset, types.Split]:
  """A spec's data, and the split of it; raises as `prepare`."""
  protocol = protocols.of(spec)
  dataset = sources.dataset(say=say, **spec.data)
  _check_ratings(protocol, dataset)
  return dataset, _split(spec, dataset)


def of_split(
  dataset: types.Dataset,
  split: types.Split,
  protocol: protocols.Protocol,
  view: str,
  hashes: dict[str, str],
) -> Prepared:
  """A split of a data set on the device, in a view of it."""

  def queries(held):
    return None if held is None else protocol.queries(held)

  valid, test = (
    types.PerDomain(*map(queries, held)) for held in (split.valid, split.test)
  )
  return Prepared(dataset, split, valid, test, hashes, *_seen_as(view, dataset, split))


def _say_if_few(negatives, queries, say):
  """Small catalogues: sampled measures are of fewer candidates."""
  fewest = int(np.asarray(queries.mask).sum(axis=1).min()) - 1
  if fewest < negatives:
    say(
      f'negatives is {negatives}, but some users have only {fewest} items without'
      ' an interaction'
    )


def _check_ratings(protocol, dataset):
  """Refuses to predict a constant."""
  ratings = dataset.pair.target.value
  if protocol.rates and not np.ptp(ratings):
    raise types.DataError(
      f'every rating of the target is {ratings[0]:g}: there is nothing to'
      ' predict; name the column of ratings, as in rating=stars, or rank items instead'
    )


def _split(spec, dataset):
  protocol = protocols.of(spec)
  _, _, *known = inspect.signature(protocol.split).parameters
  for name in spec.split:
    if name not in known:
      raise specs.SpecError(
        f'split.{name} is not for protocol={spec.protocol!r}'
        f'{wording.instead(name, known)}'
      )
  try:
    # Files that make a split hold more than the pair.
    whole = dataset if dataset.folds else dataset.pair
    return protocol.split(whole, spec.seed, **spec.split)
  except types.DataError:
    raise
  except (TypeError, ValueError) as error:
    raise specs.SpecError(f'split: {error}') from None


def _with_reviews(spec, dataset, split, say):
  """The split with side vectors of the reviews that it lets a model read."""
  if spec.data['kind'] != 'amazon_implicit':
    raise specs.SpecError(
      f"reviews needs 'amazon_implicit' data, not {spec.data['kind']!r}"
    )
  side = named.review_vectors(say, dataset, split, spec.seed)
  shown = split.shown and split.shown._replace(side=side)
  return split._replace(train=split.train._replace(side=side), shown=shown)


@sharing.once
def _seen_as(view, dataset, split):
  """The view, and the sizes and arrays of what it shows of a split."""
  specs.check_name('view', view, VIEWS)
  sizes = device.sizes(VIEWS[view](dataset, split.train))
  shown = split.shown and put(view, dataset, split.shown)
  return view, sizes, put(view, dataset, split.train), shown


def put(view: str, dataset: types.Dataset, pair: types.Pair) -> base.Arrays:
  """A pair on the device, in a view of it; where there are several, on the host.

  Each of several devices gets its share when the mesh is known.

  Raises:
    SpecError: the devices' memory cannot hold it.
  """
  seen = VIEWS[view](dataset, pair)
  several = jax.device_count() > 1
  takes, free = device.size(seen) // jax.device_count(), memory.free()
  if takes > free:
    raise specs.SpecError(
      f'the interactions take about {memory.bytes_text(takes)} on a device, of which'
      f' {memory.bytes_text(free)} are free; filter them, or sample users'
    )
  # The source's items come after the target's where both are one.
  put = device.on_host if several else device.put
  return put(seen, border=pair.target.n_items if view == 'merged' else 0)


@sharing.once
def everything(view: str, dataset: types.Dataset) -> tuple[base.Sizes, base.Arrays]:
  """All interactions of a pair in a view of it, held out or not, and their sizes."""
  sizes = device.sizes(VIEWS[view](dataset, dataset.pair))
  return sizes, put(view, dataset, dataset.pair)


def seen_by(spec: specs.Spec, prepared: Prepared) -> Prepared:
  """The same split in the view of another spec."""
  if spec.view == prepared.view:
    return prepared
  fields = ('view', 'sizes', 'data', 'shown')
  seen = _seen_as(spec.view, prepared.dataset, prepared.split)
  return prepared._replace(**dict(zip(fields, seen)))


def alike(several: list[Prepared]) -> bool:
  """Whether splits have the same sizes, so that one program can train on all."""
  return device.alike(
    [(each.data, protocols.validation(each), each.shown) for each in several]
  )
