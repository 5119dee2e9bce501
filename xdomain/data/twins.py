"""Items of two domains that are one product under two ids: twins."""

import itertools
import math
from typing import NamedTuple

import numpy as np

from xdomain.data import views
from xdomain.data.types import Ratings

AT_LEAST = 3  # users of an item that can be a twin
ALIKE = 0.8  # the Jaccard similarity of two sets of users from which items are twins
BY_CHANCE = 1.0
PRODUCTS = 1 << 24  # pairs of interactions of a user that are counted at a time


class Twins(NamedTuple):
  """Pairs of items with nearly the same users, `[N]` each."""

  source: np.ndarray
  target: np.ndarray
  jaccard: np.ndarray


def twins(
  source: Ratings, target: Ratings, at_least: int = AT_LEAST, alike: float = ALIKE
) -> Twins:
  """Every pair of a source and a target item with nearly the same users.

  In small and dense data two sets may be alike by chance: a pair counts if not more
  than `BY_CHANCE` such pairs are expected where users choose items at random.

  The search is exact. Two sets whose Jaccard similarity is at least `alike` differ in
  size by that factor at most, so items are compared within classes of size; a sparse
  product counts the users that two items share.

  Args:
    source: the interactions of one domain; users without any in the other domain are
      passed over.
    target: the same for the other domain.
    at_least: users that a target item needs.
    alike: the least similarity, above 0.
  """
  both = (views.per_user(source) > 0) & (views.per_user(target) > 0)
  ours, theirs = _users_of_items(target, both), _users_of_items(source, both)
  size_t, size_s = np.diff(ours.indptr), np.diff(theirs.indptr)
  found = []
  low = max(1, at_least)
  while low <= size_t.max(initial=0):
    high = max(low, math.ceil(low / alike) - 1)
    of_t = np.flatnonzero((size_t >= low) & (size_t <= high))
    near = (size_s >= alike * low - 1e-9) & (size_s <= high / alike + 1e-9)
    of_s = np.flatnonzero(near)
    if of_t.size and of_s.size:
      found += _alike(ours[of_t], theirs[of_s], alike, of_t, of_s)
    low = high + 1
  if not found:
    return Twins(np.zeros(0, int), np.zeros(0, int), np.zeros(0))
  made = Twins(*map(np.concatenate, zip(*found)))
  a, b = size_t[made.target], size_s[made.source]
  pairs = np.count_nonzero(size_t) * np.count_nonzero(size_s)
  rare = pairs * _chance(made.jaccard, a, b, np.count_nonzero(both)) <= BY_CHANCE
  return Twins(*(column[rare] for column in made))


def _chance(jaccard, a, b, users):
  """`[N]` the probability that random sets of `a` and `b` of the users are so alike.

  That of exactly so many shared users, which is nearly that of so many or more.
  """
  from scipy import special

  def log_binomial(n, k):
    return special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)

  shared = np.rint(jaccard * (a + b) / (1 + jaccard))
  apart = np.maximum(users - a, b - shared)  # Never less, but for rounding.
  log = log_binomial(a, shared) + log_binomial(apart, b - shared)
  return np.exp(log - log_binomial(users, b))


def _users_of_items(ratings, both):
  """`[items, U]` sparse, 1 where a user of both domains has an item."""
  from scipy import sparse  # Takes half a second to import.

  kept = both[ratings.user]
  user, item = ratings.user[kept], ratings.item[kept]
  shape = ratings.n_items, ratings.n_users
  rows = sparse.csr_array((np.ones(user.size, np.int32), (item, user)), shape)
  rows.sum_duplicates()
  rows.data[:] = 1
  return rows


def _alike(ours, theirs, alike, of_t, of_s):
  """Parts `(source, target, jaccard)` of the pairs of rows that are alike enough."""
  per_user = np.bincount(theirs.indices, minlength=theirs.shape[1])
  cost = np.add.reduceat(np.append(per_user[ours.indices], 0), ours.indptr[:-1])
  size_t, size_s = np.diff(ours.indptr), np.diff(theirs.indptr)
  by_user = theirs.T.tocsr()
  begins = np.searchsorted(
    np.cumsum(cost), np.arange(0, cost.sum() + 1, PRODUCTS), 'left'
  )
  begins = np.unique(np.append(begins, ours.shape[0]))
  for begin, end in itertools.pairwise(begins.tolist()):
    shared = (ours[begin:end] @ by_user).tocoo()
    row = shared.row + begin
    jaccard = shared.data / (size_t[row] + size_s[shared.col] - shared.data)
    kept = jaccard >= alike
    yield of_s[shared.col[kept]], of_t[row[kept]], jaccard[kept]
