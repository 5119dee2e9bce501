"""Differences by bucket are those of the queries that are in it."""

import numpy as np
import pytest

from xdomain.reporting import by_bucket


def test_a_method_that_helps_users_with_history_is_better_in_their_bucket(tmp_path):
  rng = np.random.default_rng(0)
  users = np.arange(200)
  history = np.where(users < 100, 3, 30)
  place = rng.integers(0, 12, size=200)
  better = np.where(history == 30, 0, place)
  common = {'user': users, 'history': history}
  rows = by_bucket.differences(
    common | {'full': better}, common | {'full': place}, 'history'
  )
  few, many = rows
  assert (few['bucket'], many['bucket']) == ('2-4', '20-49')
  assert few['difference'] == few['low'] == few['high'] == 0
  gain = np.where(place < 10, 1 / np.log2(place + 2.0), 0)
  assert many['difference'] == pytest.approx(1 - gain[100:].mean())
  assert 0 < many['low'] < many['difference'] < many['high']
  assert many['users'] == many['queries'] == 100
  by_bucket.save(rows, 'history', 'full NDCG@10', tmp_path, print)
  assert {path.name for path in tmp_path.iterdir()} == {'plot.png', 'plot.svg'}


def test_errors_are_compared_by_their_roots_and_small_buckets_are_left_out():
  user = np.repeat(np.arange(20), 2)
  common = {'user': user, 'truth': np.zeros(40), 'activity': np.where(user < 3, 0, 7)}
  ours, theirs = (common | {'rating': np.full(40, r)} for r in (1.0, 2.0))
  (row,) = by_bucket.differences(ours, theirs, 'activity')
  assert (row['bucket'], row['users'], row['queries']) == ('5-9', 17, 34)
  assert row['difference'] == pytest.approx(-1)
