"""Leaks between the domains and the folds of a pair, and what a split consists of.

Public benchmarks of cross-domain recommendation hold up to a sixth of their test
positives in the training data of the source, under another id. A method that copies
them looks like transfer. `audit` counts such leaks; `summary` is the part that every
run states.
"""

from typing import NamedTuple

import numpy as np

from xdomain.data import align, buckets, views
from xdomain.data import twins as twin_items
from xdomain.data.types import Dataset, HeldOut, Ratings, Split

EXAMPLES = 10  # twins that are listed
CHANCE = 3  # times the users that two items share by chance: they are the same item
HISTORY = 3  # interactions from which equal histories are no accident


class Finding(NamedTuple):
  """A number that an audit found."""

  name: str
  text: str  # what was counted
  count: float
  of: int | None = None  # the number of all, where the count is a part
  fault: bool = False  # whether it speaks against a claim made on the data

  def __str__(self):
    number = f'{self.count:,.0f}' if float(self.count).is_integer() else ''
    number = number or f'{self.count:,.1f}'
    share = f' of {self.of:,} ({self.count / max(1, self.of):.2%})' if self.of else ''
    return f'{self.text}: {number}{share}'


class Audit(NamedTuple):
  """The findings on a pair, and on a split of it."""

  name: str
  findings: tuple[Finding, ...]
  twins: tuple[tuple[str, str, float], ...]  # examples: source, target, Jaccard
  buckets: dict[str, dict[str, int]]  # users and items by number of interactions

  def __getitem__(self, name: str) -> Finding:  # pyright: ignore
    """The finding of a name."""
    return next(each for each in self.findings if each.name == name)

  @property
  def faults(self) -> tuple[Finding, ...]:
    """The findings that speak against a claim made on the data."""
    return tuple(each for each in self.findings if each.fault)

  def as_json(self) -> dict:
    """The findings by name, the twins and the buckets, as JSON values."""
    return {
      'name': self.name,
      'faults': [each.name for each in self.faults],
      'findings': {
        each.name: {'text': each.text, 'count': each.count, 'of': each.of}
        for each in self.findings
      },
      'twins': [list(each) for each in self.twins],
      'buckets': self.buckets,
    }


def audit(dataset: Dataset, split: Split | None = None) -> Audit:
  """Audits a pair and, if one is given, a split of it.

  Args:
    dataset: the pair with its raw ids.
    split: of this pair, or of its positives; then these are audited.
  """
  if split is not None and split.dataset is not None:
    dataset = split.dataset
  pair, ids = dataset.pair, dataset.ids
  links = _links(dataset)
  findings = [
    *_of_pair(dataset, links),
    *([] if split is None else _of_split(dataset, split, links)),
  ]
  best = np.argsort(-links.twins.jaccard, kind='stable')[:EXAMPLES]
  examples = tuple(
    (str(ids.source[i]), str(ids.target[j]), round(float(alike), 4))
    for i, j, alike in zip(*(column[best] for column in links.twins))
  )
  by_count = {
    'target interactions of a user': buckets.sizes(views.per_user(pair.target)),
    'source interactions of a user': buckets.sizes(views.per_user(pair.source)),
    'users of a target item': buckets.sizes(views.per_item(pair.target)),
    'users of a source item': buckets.sizes(views.per_item(pair.source)),
  }
  return Audit(dataset.name, tuple(findings), examples, by_count)


def summary(dataset: Dataset, split: Split | None = None) -> str:
  """One sentence on twins and shared items, and on what they carry."""
  links = _links(dataset)
  target = dataset.pair.target
  twins = np.unique(links.twins.target).size
  shared = 0 if links.by_chance else links.shared
  through = _reached(_sources(dataset.pair.source), target, links).mean()
  text = (
    f'audit: {twins:,} twins and {shared:,} shared items carry {through:.2%} of the'
    ' target interactions'
  )
  if split is not None and split.test.target is not None:
    source = split.train.source
    carried = _reached(_sources(source), split.test.target, links).mean()
    text += f' and {carried:.2%} of the tested ones'
  return text


class _Links(NamedTuple):
  """Items of both domains that are the same, `[N]` each, and how they were found."""

  source: np.ndarray
  target: np.ndarray
  twins: twin_items.Twins  # under different ids
  shared: int  # target items whose id is in the source too
  by_chance: bool  # whether all shared ids are those of different items


def _links(dataset) -> _Links:
  ids = dataset.ids
  source, target = _sources(dataset.pair.source), dataset.pair.target
  at_t = align.numbers_in(ids.source, ids.target)
  at_s = np.flatnonzero(at_t >= 0)
  at_t = at_t[at_s]
  found = twin_items.twins(source, target)
  key, same = (s * target.n_items + t for s, t in (found[:2], (at_s, at_t)))
  twins = twin_items.Twins(*(column[~np.isin(key, same)] for column in found))
  by_chance = _are_by_chance(source, target, at_s, at_t)
  if by_chance:  # But for those with nearly the same users.
    alike = np.isin(same, key)
    at_s, at_t = at_s[alike], at_t[alike]
  return _Links(
    np.concatenate([twins.source, at_s]),
    np.concatenate([twins.target, at_t]),
    twins,
    same.size,
    same.size > 0 and not at_s.size,
  )


def _are_by_chance(source, target, at_s, at_t) -> bool:
  """Whether items with the same id share no more users than any two items do.

  Ids that count from 0 in each file agree without a meaning. The expected number of
  users that have both items follows from how many each item and each user has.
  """
  places = np.full(source.n_items, -1)
  places[at_s] = at_t
  item = places[source.item]
  there = item >= 0
  cells = source.user[there].astype(np.int64) * target.n_items + item[there]
  users = np.isin(_cells(target), cells).sum()
  activity = (views.per_user(source) * views.per_user(target)).sum(dtype=float)
  popularity = (views.per_item(source)[at_s] * views.per_item(target)[at_t]).sum(
    dtype=float
  )
  events = max(1.0, float(source.user.size) * target.user.size)
  return bool(users <= CHANCE * popularity * activity / events)


def _sources(source) -> Ratings:
  """The source as one domain, also where several stand side by side."""
  if isinstance(source, Ratings):
    return source
  first = np.cumsum([0, *(each.n_items for each in source)])
  return source[0]._replace(
    user=np.concatenate([each.user for each in source]),
    item=np.concatenate([each.item + at for each, at in zip(source, first)]),
    n_items=int(first[-1]),
  )


# --- Of a pair --------------------------------------------------------------


def _of_pair(dataset, links) -> list[Finding]:
  source, target = _sources(dataset.pair.source), dataset.pair.target
  reached = int(_reached(source, target, links).sum())
  twins = np.unique(links.twins.target).size
  items, events = target.n_items, target.user.size
  repeated = sum(
    each.user.size - np.unique(_cells(each)).size for each in (source, target)
  )
  read = dict(dataset.trail[0][1]) if dataset.trail else {}
  dropped = read.get('source_duplicates', 0) + read.get('target_duplicates', 0)
  equal, users = _equal_histories(source, target)
  return [
    Finding(
      'shared_items',
      'target items whose id is in the source'
      + ', by chance: their users differ' * (links.by_chance and links.shared > 0),
      links.shared,
      items,
    ),
    Finding('twins', 'target items with a twin in the source', twins, items),
    Finding(
      'reachable',
      'target interactions that the user has in the source by a twin or a shared item',
      reached,
      events,
      reached > 0,
    ),
    Finding(
      'duplicates',
      'interactions that stand twice in a domain',
      repeated,
      None,
      repeated > 0,
    ),
    Finding('dropped_duplicates', 'repeated interactions dropped when read', dropped),
    Finding(
      'identical_users',
      f'users with the history of another user ({HISTORY} interactions or more)',
      equal,
      users,
    ),
  ]


def _cells(ratings) -> np.ndarray:
  return ratings.user.astype(np.int64) * ratings.n_items + ratings.item


def _reached(source: Ratings, wanted: HeldOut | Ratings, links: _Links) -> np.ndarray:
  """`[Q]` whether the user of an interaction has its item in the source."""
  reached = np.zeros(wanted.user.size, bool)
  if not links.source.size:
    return reached
  cells = np.unique(_cells(source))
  order = np.argsort(links.target, kind='stable')
  begin, end = (
    np.searchsorted(links.target[order], wanted.item, side)
    for side in ('left', 'right')
  )
  query = np.repeat(np.arange(wanted.user.size), end - begin)
  link = order[
    np.arange(query.size) - np.repeat(np.cumsum(end - begin) - end, end - begin)
  ]
  cell = wanted.user[query].astype(np.int64) * source.n_items + links.source[link]
  at = np.minimum(np.searchsorted(cells, cell), cells.size - 1)
  reached[query[cells[at] == cell]] = True
  return reached


def _equal_histories(source, target) -> tuple[int, int]:
  """Users whose items in both domains are another's too, and all with enough items.

  Sets are compared by two sums of 64 random bits an item; that two different sets have
  both in common has a probability of 2 to the -128.
  """
  rng = np.random.default_rng(0)
  sums = np.zeros((target.n_users, 2), np.uint64)
  for each in (source, target):
    code = rng.integers(2**64, size=(each.n_items, 2), dtype=np.uint64)
    order = np.argsort(each.user, kind='stable')
    users, first = np.unique(each.user[order], return_index=True)
    if users.size:
      sums[users] += np.add.reduceat(code[each.item[order]], first, axis=0)
  enough = views.per_user(source) + views.per_user(target) >= HISTORY
  _, count = np.unique(sums[enough], axis=0, return_counts=True)
  return int(count[count > 1].sum()), int(enough.sum())


# --- Of a split -------------------------------------------------------------


def _of_split(dataset, split, links) -> list[Finding]:
  train, source = split.train.target, _sources(split.train.source)
  valid, test = split.valid.target, split.test.target
  cells, tested = _cells(train), _held_cells(test, train)
  validated = _held_cells(valid, train)
  both = int(np.isin(tested, validated).sum())
  findings = []
  for name, held, keys in (('valid', valid, validated), ('test', test, tested)):
    known = int(np.isin(keys, cells).sum())
    reached = int(_reached(source, held, links).sum())
    findings += [
      Finding(
        f'{name}_trained',
        f'{_FOLDS[name]} interactions that are trained on',
        known,
        keys.size,
        known > 0,
      ),
      Finding(
        f'{name}_reachable',
        f'{_FOLDS[name]} interactions that the user has in the source training data'
        ' by a twin or a shared item',
        reached,
        keys.size,
        reached > 0,
      ),
    ]
  findings.append(
    Finding(
      'valid_is_test',
      'tested interactions that are validated on too',
      both,
      tested.size,
      both > 0,
    )
  )
  return [*findings, *_of_times(dataset, split), *_of_negatives(train, test)]


_FOLDS = {'valid': 'validated', 'test': 'tested'}


def _held_cells(held, like) -> np.ndarray:
  return held.user.astype(np.int64) * like.n_items + held.item


def _of_times(dataset, split) -> list[Finding]:
  """Tested interactions that are older than training ones, where times are known."""
  whole, test = dataset.pair.target, split.test.target
  parts = (_sources(split.train.source), split.train.target)
  if not whole.time.size or not all(part.time.size for part in parts):
    return []
  order = np.argsort(_cells(whole))
  at = np.searchsorted(_cells(whole)[order], _held_cells(test, whole))
  time = whole.time[order[at]]
  newest = np.full(whole.n_users, np.iinfo(np.int64).min)
  for part in parts:
    np.maximum.at(newest, part.user, part.time)
  by_time = split.how is not None and 'time' in split.how.protocol
  last = split.how is not None and split.how.protocol == 'leave_last_out'
  of_all, of_user = (
    int((time < limit).sum()) for limit in (newest.max(), newest[test.user])
  )
  return [
    Finding(
      'older',
      'tested interactions that are older than a training one of any user',
      of_all,
      time.size,
      by_time and of_all > 0,
    ),
    Finding(
      'older_of_user',
      'tested interactions that are older than a training one of the same user',
      of_user,
      time.size,
      (by_time or last) and of_user > 0,
    ),
  ]


def _of_negatives(train, test) -> list[Finding]:
  """The popularity of what is ranked: users of an item in training."""
  if test.negatives is None:
    return []
  popularity = views.per_item(train)
  negatives = test.negatives[test.negatives >= 0]
  return [
    Finding(
      f'popularity_of_{name}',
      f'training users of a {text}, on average',
      round(float(popularity[items].mean()), 2) if items.size else 0.0,
    )
    for name, text, items in (
      ('positives', 'tested item', test.item),
      ('negatives', 'sampled negative', negatives),
    )
  ]
