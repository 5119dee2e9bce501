"""Pairs with planted tastes, for tests, first tries and benchmarks."""

import numpy as np

from xdomain.data import describe, filters
from xdomain.data.types import DataError, Dataset, Ids, Pair, Ratings, texts


def pair(
  seed: int,
  *,
  users: int = 60,
  source: int = 40,
  target: int = 50,
  source_ratings: int = 1200,
  target_ratings: int = 1200,
  taste: int = 4,
  noise: float = 0.3,
  zipf: float = 1.0,
  scale: tuple[float, float] = (1, 5),
  integers: bool = True,
) -> Dataset:
  """Returns a pair whose users have the same taste in both domains.

  A rating is the middle of the scale plus biases of user and item, plus the product of
  the user's taste with the item's, plus noise, clipped to the scale. The rated cells
  depend on the activity of users and the popularity of items only. Every user rates in
  both domains, and every item is rated if there are enough ratings.

  Args:
    seed: of all random numbers.
    users: users, the same in both domains.
    source: items of the source.
    target: items of the target.
    source_ratings: distinct (user, item) interactions of the source, exactly.
    target_ratings: the same for the target.
    taste: factors of a user's taste.
    noise: standard deviation, in quarters of the scale: stars if it is 1 to 5.
    zipf: the popularity of an item falls with its rank to this power.
    scale: lowest and highest rating.
    integers: whether ratings are rounded.

  Raises:
    DataError: more ratings than cells, or fewer than users; a negative seed.
  """
  _check(seed, users, source, target)
  tastes = _tastes(seed, users, taste)

  def domain(k, items, n):
    rng = np.random.default_rng([seed, k])
    user, item = _events(rng, users, items, n, zipf)
    stars = _opinions(rng, tastes, items, user, item)
    value = _on_scale(stars + noise * rng.normal(size=n), scale, integers)
    return Ratings(user, item, value, np.arange(n), users, items)

  made = Pair(domain(1, source, source_ratings), domain(2, target, target_ratings))
  ids = Ids(_names('u', users), _names('s', source), _names('t', target))
  trail = ((f'planted, seed {seed}', describe.counts(made)),)
  return Dataset('synthetic', made, ids, scale, trail)


def implicit(
  seed: int,
  *,
  users: int = 60,
  source: int = 40,
  target: int = 50,
  source_ratings: int = 1800,
  target_ratings: int = 1200,
  taste: int = 4,
  at_least: int = 3,
  noise: float = 0.5,
) -> Dataset:
  """Returns the positives of a `pair`, with noisy tastes as auxiliary vectors.

  Positives are ratings of 4 and 5 out of 5. Since a user has the same taste in both
  domains, positives of the source and the auxiliary vectors `[U, taste]` predict
  positives of the target.

  Args:
    seed: of all random numbers.
    users: users, of whom those with few positives are removed.
    source: items of the source.
    target: items of the target.
    source_ratings: of the pair; about a third of them are positives.
    target_ratings: the same for the target.
    taste: factors of a user's taste.
    at_least: positives that a user has in each domain.
    noise: standard deviation of the noise on a taste of standard deviation 1.
  """
  rated = pair(
    seed,
    users=users,
    source=source,
    target=target,
    source_ratings=source_ratings,
    target_ratings=target_ratings,
    taste=taste,
  )
  likes, _ = _tastes(seed, users, taste)
  rng = np.random.default_rng([seed, 3])
  seen = likes + noise * rng.normal(size=likes.shape)
  liked = filters.positives(rated._replace(name='synthetic_implicit'))
  liked = filters.at_least(liked, at_least, at_least)
  return filters.with_side(liked, rated.ids.users.tolist(), seen)


def _check(seed, users, source, target):
  for name, value, least in (
    ('seed', seed, 0),
    ('users', users, 1),
    ('source', source, 1),
    ('target', target, 1),
  ):
    if value < least:
      raise DataError(f'{name}={value} is below {least}')


def _tastes(seed, users, taste):
  """Tastes `[U, taste]` of the users, and their biases `[U]`."""
  rng = np.random.default_rng([seed, 0])
  return rng.normal(size=(users, taste)), rng.normal(size=users)


def _events(rng, users, items, n, zipf):
  """`n` distinct (user, item), more of active users and of popular items."""
  if not users <= n <= users * items:
    raise DataError(
      f'{users} users and {items} items have room for {users} to '
      f'{users * items} ratings of which every user has one, not for {n}'
    )
  activity = rng.lognormal(sigma=0.8, size=users)
  popularity = rng.permutation(np.arange(1.0, items + 1) ** -zipf)
  cells = _cover(rng, users, items, n)
  if 8 * n > users * items:
    cells = _draw_from_all(rng, activity, popularity, cells, n)
  else:
    cells = _draw_until(rng, activity, popularity, cells, n)
  user, item = np.divmod(rng.permutation(cells), items)
  return user.astype(np.int32), item.astype(np.int32)


def _cover(rng, users, items, n):
  """Cells in which every user, then every item, occurs; at most `n`."""
  k = np.arange(min(n, max(users, items)))
  user, item = rng.permutation(users), rng.permutation(items)
  return user[k % users] * items + item[k % items]


def _draw_from_all(rng, activity, popularity, cells, n):
  """Weighted draw without replacement, by Gumbel keys; for dense domains."""
  weight = np.log(activity)[:, None] + np.log(popularity)  # [U, items]
  key = (weight + rng.gumbel(size=weight.shape)).ravel()
  key[cells] = np.inf
  return np.sort(np.argpartition(-key, n - 1)[:n])


def _draw_until(rng, activity, popularity, cells, n):
  """Draws with replacement until `n` cells differ; for sparse domains."""
  while (missing := n - cells.size) > 0:
    user, item = (
      rng.choice(weight.size, 2 * missing, p=weight / weight.sum())
      for weight in (activity, popularity)
    )
    new = np.setdiff1d(user * popularity.size + item, cells)
    cells = np.concatenate([cells, rng.permutation(new)[:missing]])
    # Flatter each round, so that steep weights do not run out of cells.
    activity, popularity = activity**0.9, popularity**0.9
  return cells


def _opinions(rng, tastes, items, user, item):
  """`[E]` opinions of users on items, of mean about 0 and deviation about 1."""
  taste, kindness = tastes
  appeal = rng.normal(size=(items, taste.shape[1]))
  quality = rng.normal(size=items)
  match = np.einsum('ez,ez->e', taste[user], appeal[item])
  match *= 0.8 / max(1, taste.shape[1]) ** 0.5
  return match + 0.4 * kindness[user] + 0.4 * quality[item]


def _on_scale(stars, scale, integers):
  low, high = scale
  value = (low + high) / 2 + stars * (high - low) / 4
  value = np.clip(np.round(value) if integers else value, low, high)
  return value.astype(np.float32)


def _names(letter, n):
  return texts(f'{letter}{k}' for k in range(n))
