"""Seconds and memory of the search for twins on ten million interactions.

python -m benchmarks.audit

Two domains of five million interactions each, once sparse (a million users) and once
dense (70,000 users), with twins planted; every one of them has to be found.
"""

import resource
import time

import numpy as np

from xdomain.data import twins, types
from xdomain.reporting import render

EACH = 5_000_000  # interactions of a domain
SHAPES = {'sparse': (1_000_000, 200_000, 1.2), 'dense': (70_000, 5_000, 1.0)}
PLANTED = 50


def main():
  rows = []
  for name, (users, items, spread) in SHAPES.items():
    source, target, planted = pair(users, items, spread, EACH)
    began, used = time.monotonic(), time.process_time()
    found = twins.twins(source, target)
    pairs = set(zip(found.source.tolist(), found.target.tolist()))
    rows.append(
      {
        'data': f'{name}: {users:,} users, {items:,} items a domain',
        'interactions': f'{source.user.size + target.user.size:,}',
        'CPU s': f'{time.process_time() - used:.1f}',
        'wall s': f'{time.monotonic() - began:.1f}',
        'peak GB': f'{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f}',
        'planted twins': str(len(planted)),
        'found': str(len(planted & pairs)),
        'others': str(len(pairs - planted)),
      }
    )
  print(render.markdown(rows))


def pair(users: int, items: int, spread: float, n: int):
  """Two domains, to which copies of some items of the source were added."""
  rng = np.random.default_rng(0)
  activity = rng.lognormal(sigma=spread, size=users)
  popularity = 1 / np.arange(1, items + 1) ** 0.8

  def domain():
    user = rng.choice(users, n, p=activity / activity.sum())
    item = rng.choice(items, n, p=popularity / popularity.sum())
    cells = np.unique(user.astype(np.int64) * items + item)
    return (cells // items).astype(np.int32), (cells % items).astype(np.int32)

  (user_s, item_s), (user_t, item_t) = domain(), domain()
  wanted = rng.choice(np.flatnonzero(np.bincount(item_s) >= 5), PLANTED, replace=False)
  copy = np.full(items, -1)
  copy[wanted] = items + np.arange(PLANTED)
  there = np.flatnonzero(copy[item_s] >= 0)
  user_t = np.append(user_t, user_s[there])
  item_t = np.append(item_t, copy[item_s[there]]).astype(np.int32)
  planted = set(zip(wanted.tolist(), copy[wanted].tolist()))
  return (
    _ratings(user_s, item_s, users, items),
    _ratings(user_t, item_t, users, items + PLANTED),
    planted,
  )


def _ratings(user, item, users, items):
  value = np.ones(user.size, np.float32)
  return types.Ratings(user, item, value, np.zeros(0, int), users, items)


if __name__ == '__main__':
  main()
