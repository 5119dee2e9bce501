"""Measures of lists of items: with several held-out items, and beyond accuracy.

All of them are computed on the host: a list of a user has `LISTED` items, and held-out
items come with their places in the catalogue.
"""

from collections.abc import Sequence

import chex
import numpy as np

CUTOFFS = (5, 10, 20, 50, 100)
NAMES = ('recall', 'precision', 'map', 'ndcg', 'hr', 'mrr')
BEYOND = ('coverage', 'gini', 'popularity', 'novelty', 'diversity', 'calibration')
LISTED = 10  # items of the lists that `beyond_accuracy` measures
SHARE = 0.2  # of the interactions: the most and the least popular items take so much


def names(cutoffs: Sequence[int] = CUTOFFS) -> list[str]:
  """The names of the measures, in the order of `retrieval`."""
  return [f'{name}@{k}' for k in cutoffs for name in NAMES]


def retrieval(
  user: np.ndarray, place: np.ndarray, cutoffs: Sequence[int] = CUTOFFS
) -> tuple[np.ndarray, np.ndarray]:
  """The measures of one list a user that holds all of the user's held-out items.

  A held-out item that `place` other items precede is behind these and behind the
  held-out items before it. With n held-out items, of which h are among the first k:
  recall h / n; precision h / k; MAP the mean, over min(n, k), of the precision at each
  held-out item; NDCG the discounted gain over that of the best order; HR whether h is
  above 0; MRR one over the first held-out item's rank (Manning, Raghavan and Schuetze
  2008, chapter 8; Jaervelin and Kekaelaeinen 2002).

  Args:
    user: `[Q]` the user of each held-out item.
    place: `[Q]` how many items that are not held out precede it.
    cutoffs: of the measures.

  Returns:
    The users `[U]` and their measures `[U, M]`.
  """
  user, place = np.asarray(user), np.asarray(place, np.int64)
  chex.assert_equal_shape([user, place])
  order = np.lexsort((place, user))
  users, first, held = np.unique(user[order], return_index=True, return_counts=True)
  before = np.arange(user.size) - np.repeat(first, held)  # Held-out items before it.
  rank = place[order] + before
  ideal = np.concatenate([[0], np.cumsum(1 / np.log2(np.arange(max(cutoffs)) + 2))])
  measures = []
  for k in cutoffs:
    within = rank < k
    hits, gain, precision = (
      np.add.reduceat(np.where(within, each, 0.0), first)
      for each in (1.0, 1 / np.log2(rank + 2), (before + 1) / (rank + 1))
    )
    most = np.minimum(held, k)
    mrr = np.where(within[first], 1 / (rank[first] + 1), 0)
    measures += [
      hits / held,
      hits / k,
      precision / most,
      gain / ideal[most],
      hits > 0,
      mrr,
    ]
  return users, np.stack(measures, axis=-1).astype(np.float64)


def beyond_accuracy(
  listed: np.ndarray,
  user: np.ndarray,
  trained: tuple[np.ndarray, np.ndarray],
  n_items: int,
  features: np.ndarray | None = None,
) -> dict[str, float | None]:
  """Measures of lists apart from their hits.

  Args:
    listed: `[U, K]` the items of each list, -1 beyond its end.
    user: `[U]` the user of each list.
    trained: the users and the items `[E]` of the training interactions of the target.
    n_items: items of the target.
    features: `[n_items, F]` of items, or None.

  Returns:
    By name:
      coverage: the share of the items that are in any list (Ge et al. 2010).
      gini: the Gini index of how often items are listed, 0 if all are equally often
        (Fleder and Hosanagar 2009).
      popularity: the mean share of training users that a listed item has.
      novelty: the mean self-information of a listed item, minus log2 of that share;
        an item without users counts as one with one (Zhou et al. 2010).
      diversity: the mean, over pairs of items of a list, of 1 - the cosine of their
        features (Ziegler et al. 2005); None without features.
      calibration: the mean divergence (Jensen and Shannon, in bits) between the shares
        of popular, middling and rare items in a list and in the training items of its
        user: 0 if they are equal (Abdollahpouri et al. 2021); None if no user has any.
  """
  chex.assert_rank([listed, user], [2, 1])
  there = listed >= 0
  shown = listed[there]
  if not shown.size:
    return dict.fromkeys(BEYOND)
  users, items = trained
  popularity = np.bincount(items, minlength=n_items)
  n_users = max(1, np.count_nonzero(np.bincount(users)))
  share = popularity / n_users
  least = np.maximum(popularity, 1) / n_users
  exposure = np.bincount(shown, minlength=n_items)
  return {
    'coverage': float(np.mean(exposure > 0)),
    'gini': _gini(exposure),
    'popularity': float(share[shown].mean()),
    'novelty': float(-np.log2(least[shown]).mean()),
    'diversity': None if features is None else _diversity(listed, there, features),
    'calibration': _calibration(listed, there, user, users, items, popularity),
  }


def _gini(counts) -> float:
  n = counts.size
  ascending = np.sort(counts)
  weight = 2 * np.arange(1, n + 1) - n - 1
  return float(weight @ ascending / (n * ascending.sum()))


def _diversity(listed, there, features) -> float | None:
  """A list's sum of cosines is the square of the sum of its unit vectors."""
  length = np.linalg.norm(features, axis=1, keepdims=True)
  unit = np.divide(features, length, where=length > 0, out=np.zeros(features.shape))
  of_list = unit[np.where(there, listed, 0)] * there[..., None]  # [U, K, F]
  total = np.square(of_list.sum(axis=1)).sum(axis=1)
  itself = np.square(of_list).sum(axis=(1, 2))
  count = there.sum(axis=1)
  several = count > 1
  if not several.any():
    return None
  pairs = (count * (count - 1))[several]
  return float(np.mean(1 - (total - itself)[several] / pairs))


def _calibration(listed, there, user, users, items, popularity) -> float | None:
  group = popularity_groups(popularity)

  def shares(rows, of_items, n):
    counts = np.zeros((n, 3))
    np.add.at(counts, (rows, group[of_items]), 1)
    total = counts.sum(axis=1, keepdims=True)
    return counts / np.maximum(total, 1), total[:, 0] > 0

  row = np.full(max(users.max(initial=0), user.max(initial=0)) + 1, -1)
  row[user] = np.arange(user.size)
  mine = row[users] >= 0
  profile, has = shares(row[users][mine], items[mine], user.size)
  of_list, filled = shares(np.nonzero(there)[0], listed[there], user.size)
  both = has & filled
  if not both.any():
    return None
  middle = (profile + of_list) / 2
  divergence = (_relative(profile, middle) + _relative(of_list, middle)) / 2
  return float(divergence[both].mean())


def _relative(p, q):
  """The Kullback-Leibler divergence of rows in bits."""
  ratio = np.divide(p, q, where=p > 0, out=np.ones_like(p))
  return (p * np.log2(ratio)).sum(axis=1)


def popularity_groups(popularity: np.ndarray) -> np.ndarray:
  """`[items]` 0 for popular items, 2 for rare ones, 1 for those between.

  The most popular items that together have a fifth of the interactions are popular,
  the least popular that have a fifth are rare.
  """
  order = np.argsort(-popularity, kind='stable')
  before = np.cumsum(popularity[order]) - popularity[order]
  total = max(1, popularity.sum())
  group = np.empty(popularity.size, int)
  group[order] = np.where(
    before < SHARE * total, 0, np.where(before < (1 - SHARE) * total, 1, 2)
  )
  return group
