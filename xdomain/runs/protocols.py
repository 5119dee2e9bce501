"""Protocols: the split of the data, the choice of an epoch, the measures of a test.

The protocols 'rating' and 'rating_by_time' predict held-out ratings; the others rank
held-out items.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from xdomain import base, shards
from xdomain.data import buckets, device, given, splits, splits_by_time, types, views
from xdomain.evaluation import lists, rankings, ratings
from xdomain.ops import sampling
from xdomain.reporting import records
from xdomain.runs import sharing
from xdomain.runs import spec as specs
from xdomain.training import loop, placement

HEADLINE = 'ndcg@10'


class Answer(NamedTuple):
  """The test of a trained model."""

  measures: dict  # for the record
  shared: dict  # `[Q]` arrays, the same for all members of a sweep
  own: dict  # `[Q]` arrays


class Protocol(NamedTuple):
  split: Callable  # (pair, seed, **config.split) -> Split
  queries: Callable  # HeldOut -> Queries
  measure: Callable  # (dataset, model) -> a measure for `train.fit`
  valid: str  # what its values are called in records
  value: Callable  # the measure's value -> the record's
  answer: Callable  # (prepared, model, state) -> Answer
  choice: Callable  # (prepared, model, state) -> what a search compares trials by
  differences: Callable  # (arrays, arrays) -> [(name, value, low, high)]
  headline: Callable  # measures of a record -> columns of a short table
  rates: bool  # whether it predicts ratings, on the scale of the data


@sharing.once
def unlearnt(name: str, split: types.Split, measures: dict) -> str:
  """A line if validation is no better than one rating for all, or nothing.

  Args:
    name: of the method.
    split: that the method was trained and validated on.
    measures: of its record.
  """
  if 'valid_rmse' not in measures or split.valid.target is None:
    return ''
  mean = np.mean(split.train.target.value, dtype=np.float64)
  floor = np.sqrt(np.mean((split.valid.target.value - mean) ** 2))
  if measures['valid_rmse'] < floor:
    return ''
  return (
    f'{name} has not learnt: its validation RMSE of {measures["valid_rmse"]:.4f} is not'
    f' below {floor:.4f}, that of the mean rating; try more patience, another learning'
    ' rate or another start'
  )


class Measures(dict):
  """The measures of a test; printed, its rows are easy to read."""

  def __str__(self):
    lines = []
    for name, value in self.items():
      if not isinstance(value, dict):
        if isinstance(value, float) and '_interval' not in name:
          lines.append(f'{name:12} {value:.4f}{_interval(self, name)}')
      elif name == 'beyond':
        lines += [f'{n:12} {x:.4f}' for n, x in value.items() if x is not None]
      elif name != 'by' and not name.endswith(('_interval', '_macro')):
        of = self.get(f'{name}_interval', {})
        lines += [
          f'{name:9}{measure:8} {each:.4f}{_interval({measure: of.get(measure)})}'
          for measure, each in value.items()
          if measure.endswith('@10')
        ]
    return '\n'.join([*lines, *records.doubts(self)])


def _interval(bounds, name=None):
  bound = bounds.get(f'{name}_interval') if name else next(iter(bounds.values()))
  return f' ({bound[0]:.4f} to {bound[1]:.4f})' if bound and None not in bound else ''


def of(spec: specs.Spec) -> Protocol:
  """The protocol of a spec; `SpecError` where there is none of that name."""
  specs.check_name('protocol', spec.protocol, PROTOCOLS)
  return PROTOCOLS[spec.protocol]


def validation(prepared) -> types.PerDomain:
  """The validation queries of a split, padded to the size of its test.

  One program then validates and tests, also on splits of other seeds.
  """
  sizes = _sizes(prepared)
  return types.PerDomain(
    *(each and each.padded(size) for each, size in zip(prepared.valid, sizes))
  )


def _sizes(prepared):
  """The common number of validation and test queries of each domain, rounded up."""
  return types.PerDomain(
    *(
      sampling.round_up(max(len(each.user) for each in both if each is not None), 8)
      if any(both)
      else 0
      for both in zip(prepared.valid, prepared.test)
    )
  )


def _seen(prepared, state) -> base.Arrays:
  """The data that predictions of a state may use, where the state is."""
  data = prepared.data if prepared.shown is None else prepared.shown
  return placement.beside(state, data)


def _known(state, ratings, *but) -> base.Rows:
  """`[U, T]` interactions, where the state is; but for users and items `[Q]`."""
  return placement.beside(state, _by_user(ratings, *but))


@sharing.once
def _by_user(ratings, *but):
  ratings = views.without(ratings, *but) if but else ratings
  return device.by_user_on_host(ratings)


def _answers(prepared, model, state, measure, seen):
  """The measure's answers to the test queries, by the program of validation."""
  queries = prepared.test.target
  padded = queries.padded(_sizes(prepared).target)
  if shards.any_of(state):
    answers = loop.answers(model.stages[-1], measure, state, seen, padded)
    return tuple(each[: len(queries.user)] for each in shards.fetch(answers))
  _, answers = loop.validate(
    placement.SINGLE,
    model.stages[-1],
    measure,
    jax.device_put(jax.tree.map(lambda leaf: leaf[None], jax.device_get(state))),
    seen,
    padded,
  )
  return tuple(np.asarray(each)[0, : len(queries.user)] for each in answers)


# --- Ratings ----------------------------------------------------------------


def _rating_error(dataset, model):
  return ratings.RatingError(dataset.scale, model.trained)


def _rate(prepared, model, state):
  test, scale = prepared.test, prepared.dataset.scale
  measure, seen = _rating_error(prepared.dataset, model), _seen(prepared, state)
  answers = _answers(prepared, model, state, measure, seen)
  data = seen if prepared.shown is None else placement.beside(state, prepared.data)
  target = ratings.predictions(data, test.target, *answers)
  source = None
  if model.predict_source is not None:
    source = ratings.predict_ratings(
      model, state, data, test.source, scale, domain='source'
    )
  return _rated(prepared, target, source)


@sharing.once
def _rated(prepared, target, source):
  """The answer that predictions of both domains make."""
  measures = {'test': ratings.rating_measures(target)}
  if source is not None:
    measures['test_source'] = ratings.rating_measures(source)
  error = np.abs(target.rating - target.truth)
  item = np.asarray(prepared.test.target.item)[:, 0]
  history = histories(prepared.split, target.user, item)
  measures['test']['by'] = {
    name: {
      bucket: each | {'rmse': each['rmse'] and each['rmse'] ** 0.5}
      for bucket, each in buckets.means(n, {'rmse': error**2, 'mae': error}).items()
    }
    for name, n in history.items()
  }
  target = target._asdict() | history
  own = {name: target.pop(name) for name in ('rating', 'raw')}
  return Answer(measures, target, own)


def _rating_differences(ours, theirs):
  errors = [each['rating'] - each['truth'] for each in (ours, theirs)]
  first, second = (ratings.mean_error(e, power=2) for e in errors)
  if first is None or second is None:
    return []  # One of the two is not finite.
  low, high = ratings.error_interval(ours['user'], *errors)
  return [('RMSE', first - second, low, high)]


def _rating_headline(measures):
  test = measures['test']
  return {
    'RMSE': _number(test['rmse']),
    'MAE': _number(test['mae']),
    'valid': _number(measures['valid_rmse']),
  }


def _number(value):
  return '-' if value is None else f'{value:.4f}'


# --- Rankings ---------------------------------------------------------------


def _unranked(dataset, model):
  del dataset, model
  return rankings.Unranked()


def _rank(prepared, model, state):
  known = _known(state, prepared.dataset.pair.target)
  seen, unranked = _seen(prepared, state), _unranked(prepared.dataset, model)
  places = _answers(prepared, model, state, unranked, seen)
  test = prepared.test.target
  held = np.asarray(test.user), np.asarray(test.item)[:, 0]
  new = _known(state, prepared.dataset.pair.target, *held)
  ranks = rankings.ranks(model, state, seen, test, known, places, new)
  return _ranked(prepared.dataset, prepared.split, ranks)


@sharing.once
def _ranked(dataset, split, ranks):
  history = histories(split, ranks.user, ranks.item)
  return ranked(dataset, split, ranks, history)


def ranked(
  dataset: types.Dataset,
  split: types.Split,
  ranks: rankings.Ranks,
  history: dict[str, np.ndarray],
) -> Answer:
  """The answer that ranks make, with measures beyond accuracy and by bucket.

  Args:
    dataset: that was split.
    split: of it.
    ranks: of the test queries.
    history: `[Q]` counts by name, as of `histories`.
  """
  measures = rankings.ranking_measures(ranks)
  if split.how is not None and split.how.left_out:
    measures['left_out'] = split.how.left_out
  train = split.train.target if split.shown is None else split.shown.target
  user, first = np.unique(ranks.user, return_index=True)
  if ranks.listed is not None:
    measures['beyond'] = lists.beyond_accuracy(
      ranks.listed[first],
      user,
      (train.user, train.item),
      train.n_items,
      dataset.features,
    )
  at = [name for name in rankings.names() if name.endswith('@10')]
  chosen = [rankings.names().index(name) for name in at]
  columns = {
    f'{kind} {name}': gain
    for kind in ('sampled', 'full')
    for name, gain in zip(at, rankings.gains(getattr(ranks, kind))[:, chosen].T)
  }
  measures['by'] = {name: buckets.means(n, columns) for name, n in history.items()}
  shared = ranks._asdict() | history
  own = {name: shared.pop(name) for name in ('sampled', 'tied', 'full', 'listed')}
  own = {name: each for name, each in own.items() if each is not None}
  return Answer({'test': measures}, shared, own)


def histories(
  split: types.Split, user: np.ndarray, item: np.ndarray
) -> dict[str, np.ndarray]:
  """`[Q]` the training interactions that queries can rest on.

  Returns:
    `activity`, target interactions of the user; `popularity`, those of the item;
    `history`, source interactions of the user.
  """
  target = split.train.target if split.shown is None else split.shown.target
  source = split.train.source
  sources = [source] if isinstance(source, types.Ratings) else source
  of_source = np.sum([views.per_user(each) for each in sources], axis=0)
  return {
    'activity': views.per_user(target)[user],
    'popularity': views.per_item(split.train.target)[item],
    'history': of_source[user],
  }


def _full_validation(prepared, model, state):
  """NDCG@10 of the validation items in the full catalogue."""
  known = _known(state, prepared.dataset.pair.target)
  seen = _seen(prepared, state)
  ranks = rankings.ranks(model, state, seen, prepared.valid.target, known)
  at = rankings.names().index(HEADLINE)
  return {records.CHOICE: float(rankings.gains(ranks.full)[:, at].mean())}


def _ranking_differences(ours, theirs):
  at = rankings.names().index(HEADLINE)
  rows = []
  for kind in ('sampled', 'full'):
    first, second = (rankings.gains(each[kind])[:, [at]] for each in (ours, theirs))
    gap = first - second
    low, high = rankings.interval(ours['user'], gain=gap)
    name = f'{kind} {HEADLINE.upper()}'
    rows.append((name, gap.mean(), low.item(), high.item()))
  return rows


def _ranking_headline(measures):
  test = measures['test']
  columns = {
    f'{kind} {name.upper()}'.removeprefix('sampled '): _number(test[kind][name])
    for kind in ('sampled', 'full')
    for name in ('hr@10', HEADLINE)
  }
  return columns | {'valid': _number(measures[f'valid_{HEADLINE}'])}


def _ranking(split):
  return Protocol(
    split,
    device.ranking_queries,
    _unranked,
    records.RANKING.valid,
    lambda value: 1 - value,
    _rank,
    _full_validation,
    _ranking_differences,
    _ranking_headline,
    False,
  )


def _rating(split):
  return Protocol(
    split,
    device.rating_queries,
    _rating_error,
    records.RATING.valid,
    lambda value: value,
    _rate,
    lambda prepared, model, state: {},
    _rating_differences,
    _rating_headline,
    True,
  )


PROTOCOLS = {
  'rating': _rating(splits.by_ratio),
  'rating_by_time': _rating(splits_by_time.rating_by_time),
  'leave_one_out': _ranking(splits.leave_one_out),
  'cold_start': _ranking(splits.cold_start),
  'partial': _ranking(splits.partial),
  'leave_last_out': _ranking(splits_by_time.leave_last_out),
  'time_split': _ranking(splits_by_time.time_split),
  'time_cold_start': _ranking(splits_by_time.time_cold_start),
  'given': _ranking(given.given),
  'given_ratings': _rating(given.given_ratings),
}
