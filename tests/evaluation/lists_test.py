"""Measures of lists against values by hand and against loops."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from xdomain.data import buckets
from xdomain.evaluation import lists, rankings


def by_name(user, place, cutoffs):
  users, measures = lists.retrieval(np.array(user), np.array(place), cutoffs)
  return users.tolist(), dict(zip(lists.names(cutoffs), measures.T.tolist()))


def test_three_held_out_items_by_hand():
  # Ranks 1, 3 and 8: items that are not held out precede them 0, 1 and 5 times.
  users, found = by_name([4, 4, 4], [5, 0, 1], (5,))
  assert users == [4]
  gain = 1 + 1 / np.log2(4)
  ideal = 1 + 1 / np.log2(3) + 1 / 2
  assert found == {
    'recall@5': [pytest.approx(2 / 3)],
    'precision@5': [pytest.approx(2 / 5)],
    'map@5': [pytest.approx((1 + 2 / 3) / 3)],
    'ndcg@5': [pytest.approx(gain / ideal)],
    'hr@5': [1],
    'mrr@5': [1],
  }


@hypothesis.given(strategies.lists(strategies.integers(0, 30), min_size=1, max_size=30))
@hypothesis.settings(max_examples=30, deadline=None, derandomize=True)
def test_one_held_out_item_has_the_measures_of_its_place(place):
  _, found = by_name(range(len(place)), place, (5, 10))
  gains = dict(zip(rankings.names((5, 10)), rankings.gains(np.array(place), (5, 10)).T))
  for k in (5, 10):
    np.testing.assert_allclose(found[f'recall@{k}'], gains[f'hr@{k}'])
    np.testing.assert_allclose(found[f'precision@{k}'], gains[f'hr@{k}'] / k)
    np.testing.assert_allclose(found[f'map@{k}'], gains[f'mrr@{k}'])
    for name in ('hr', 'ndcg', 'mrr'):
      np.testing.assert_allclose(found[f'{name}@{k}'], gains[f'{name}@{k}'])


@hypothesis.given(strategies.integers(0, 2**32))
@hypothesis.settings(max_examples=30, deadline=None, derandomize=True)
def test_places_among_others_give_the_ranks_of_a_sort(seed):
  rng = np.random.default_rng(seed)
  scores = rng.permutation(40).astype(float)  # No two are equal.
  held = rng.choice(40, rng.integers(1, 12), replace=False)
  others = np.setdiff1d(np.arange(40), held)
  place = [(scores[others] >= scores[item]).sum() for item in held]
  ranked = np.isin(np.argsort(-scores), held)
  for k in (3, 10, 40):
    _, found = by_name([0] * held.size, place, (k,))
    top = ranked[:k]
    precision = np.cumsum(top) / np.arange(1, k + 1)
    discount = 1 / np.log2(np.arange(k) + 2)
    most = min(k, held.size)
    assert found[f'recall@{k}'] == [pytest.approx(top.sum() / held.size)]
    assert found[f'precision@{k}'] == [pytest.approx(top.sum() / k)]
    assert found[f'map@{k}'] == [pytest.approx((precision * top).sum() / most)]
    ideal = discount[:most].sum()
    assert found[f'ndcg@{k}'] == [pytest.approx((discount * top).sum() / ideal)]


def test_beyond_accuracy_by_hand():
  listed = np.array([[0, 1], [0, -1]])
  # Item 0 has two of four users, item 1 one, item 2 one and item 3 none.
  trained = np.array([0, 1, 2, 3]), np.array([0, 0, 1, 2])
  features = np.array([[1.0, 0], [1, 1], [0, 1], [0, 0]])
  found = lists.beyond_accuracy(listed, np.array([0, 3]), trained, 4, features)
  assert found['coverage'] == 2 / 4
  assert found['gini'] == pytest.approx((1 * 1 + 3 * 2) / (4 * 3))
  assert found['popularity'] == pytest.approx((0.5 + 0.25 + 0.5) / 3)
  assert found['novelty'] == pytest.approx((1 + 2 + 1) / 3)
  assert found['diversity'] == pytest.approx(1 - 1 / np.sqrt(2))
  # Groups: item 0 is popular; 1 is between; 2 and 3 are rare.
  assert lists.popularity_groups(np.array([2, 1, 1, 0])).tolist() == [0, 1, 1, 2]
  half = (0.5 * np.log2(0.5 / 0.75) + 0.5 * np.log2(0.5 / 0.25)) / 2
  first = half + np.log2(1 / 0.75) / 2  # (1, 0, 0) against (1/2, 1/2, 0)
  assert found['calibration'] == pytest.approx((first + 1) / 2)


def test_beyond_accuracy_has_none_where_nothing_is_known():
  trained = np.array([0]), np.array([0])
  found = lists.beyond_accuracy(np.array([[1]]), np.array([2]), trained, 2)
  assert found['diversity'] is None and found['calibration'] is None
  assert found['novelty'] == 0  # As if the item's one user were the only one.
  empty = lists.beyond_accuracy(np.array([[-1]]), np.array([2]), trained, 2)
  assert set(empty.values()) == {None}


def test_equal_exposure_has_no_inequality():
  listed = np.arange(12).reshape(3, 4)
  trained = np.array([0]), np.array([0])
  found = lists.beyond_accuracy(listed, np.arange(3), trained, 12)
  assert (found['gini'], found['coverage']) == (pytest.approx(0), 1)


def test_means_of_buckets_add_up():
  rng = np.random.default_rng(0)
  count = rng.integers(0, 2000, size=500)
  value = rng.random(500)
  found = buckets.means(count, {'x': value})
  assert sum(each['queries'] for each in found.values()) == 500
  total = sum(each['queries'] * each['x'] for each in found.values())
  assert total == pytest.approx(value.sum())
  inside = value[(count >= 20) & (count < 50)]
  assert found['20-49']['x'] == pytest.approx(inside.mean())
  assert buckets.sizes(np.array([0, 1, 2, 4, 5, 5000]))['2-4'] == 2
