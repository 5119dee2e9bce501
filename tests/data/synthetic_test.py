import numpy as np
import pytest

from xdomain.data import cache, splits, synthetic, views
from xdomain.data.types import DataError

SHAPES = {
  'default': {},
  'full': dict(source_ratings=60 * 40, target_ratings=60 * 50),
  'least': dict(source_ratings=60, target_ratings=60),
  'wide': dict(users=9, source=70, target=80, source_ratings=70),
  'darec': dict(  # Table 1, pair 1
    users=5154,
    source=10398,
    target=21732,
    source_ratings=40294,
    target_ratings=158927,
  ),
}
SHAPES['wide']['target_ratings'] = 100


def domains(dataset):
  return dataset.pair.source, dataset.pair.target


@pytest.fixture(name='made', params=SHAPES)
def _made(request):
  asked = dict(users=60, source=40, target=50, source_ratings=1200, target_ratings=1200)
  asked |= SHAPES[request.param]
  return asked, synthetic.pair(0, **asked)


def test_there_are_exactly_as_many_distinct_ratings_as_asked(made):
  asked, dataset = made
  for name, ratings in zip(('source', 'target'), domains(dataset)):
    assert ratings.user.size == asked[f'{name}_ratings']
    assert ratings.n_users == asked['users']
    assert ratings.n_items == asked[name]
    cells = ratings.user.astype(np.int64) * ratings.n_items + ratings.item
    assert np.unique(cells).size == cells.size


def test_everybody_rates_and_everything_is_rated_where_numbers_allow(made):
  _, dataset = made
  for ratings in domains(dataset):
    users = np.bincount(ratings.user, minlength=ratings.n_users)
    items = np.bincount(ratings.item, minlength=ratings.n_items)
    assert users.min() >= 1
    assert users.size == ratings.n_users
    assert (items > 0).sum() >= min(ratings.n_items, ratings.user.size)
    assert items.size == ratings.n_items


def test_arrays_have_the_types_of_base(made):
  _, dataset = made
  for ratings in domains(dataset):
    assert ratings.user.dtype == ratings.item.dtype == np.int32
    assert ratings.value.dtype == np.float32
    assert ratings.time.dtype == np.int64
  assert dataset.ids.users.size == dataset.pair.target.n_users
  assert dataset.ids.source.size == dataset.pair.source.n_items
  assert dataset.ids.target.size == dataset.pair.target.n_items


def test_the_seed_decides():
  digests = [cache.digest(synthetic.pair(seed)) for seed in (0, 0, 1)]
  assert digests[0] == digests[1] != digests[2]


def test_the_target_does_not_change_with_the_source():
  few, many = (synthetic.pair(0, source=k, source_ratings=600) for k in (20, 40))
  assert cache.sha256(few.pair.target) == cache.sha256(many.pair.target)


def test_ratings_are_integers_on_the_scale_and_all_of_them_occur():
  for ratings in domains(synthetic.pair(0)):
    assert np.unique(ratings.value).tolist() == [1, 2, 3, 4, 5]


def test_another_scale_is_filled_too():
  ratings = synthetic.pair(0, scale=(0, 10)).pair.target
  assert 0 <= ratings.value.min() < 2 and 8 < ratings.value.max() <= 10
  assert 4 < ratings.value.mean() < 6


def test_ratings_need_not_be_integers():
  value = synthetic.pair(0, integers=False).pair.target.value
  assert np.unique(value).size > 1000
  assert value.min() >= 1 and value.max() <= 5


def test_popularity_falls_with_rank_to_the_power_asked():
  shape = dict(users=2000, source_ratings=2000)
  shape |= dict(target=1000, target_ratings=40_000)
  for zipf in (0.5, 1.0):
    ratings = synthetic.pair(0, **shape, zipf=zipf).pair.target
    count = np.sort(np.bincount(ratings.item))[::-1]
    # Past the top, where active users have run out of unseen items.
    slope = np.log(count[20] / count[200]) / np.log(200 / 20)
    assert abs(slope - zipf) < 0.15


def test_popularity_as_steep_as_it_gets_still_ends():
  shape = dict(users=200, target=400, target_ratings=10_000)
  ratings = synthetic.pair(0, **shape, zipf=6.0).pair.target
  assert ratings.user.size == 10_000


@pytest.mark.parametrize('n', [59, 3001])
def test_ratings_that_do_not_fit_are_an_error_with_counts(n):
  with pytest.raises(DataError, match=f'60 to 3000 ratings .* not for {n}'):
    synthetic.pair(0, target_ratings=n)


@pytest.mark.parametrize('given', [dict(seed=-1), dict(users=0), dict(target=-3)])
def test_sizes_and_seeds_that_do_not_exist_are_refused(given):
  (named,) = (f'{name}={value} is below' for name, value in given.items())
  with pytest.raises(DataError, match=named):
    synthetic.pair(**dict(seed=0) | given)


# --- What people like -------------------------------------------------------


def test_positives_are_one_and_everybody_has_enough_in_each_domain():
  dataset = synthetic.implicit(0, at_least=4)
  assert dataset.scale == (0, 1) and dataset.name == 'synthetic_implicit'
  for ratings in domains(dataset):
    assert np.unique(ratings.value).tolist() == [1]
    assert np.bincount(ratings.user, minlength=ratings.n_users).min() >= 4
  assert dataset.pair.side.shape == (dataset.ids.users.size, 4)


def test_the_seed_decides_what_people_like():
  digests = [cache.digest(synthetic.implicit(seed)) for seed in (0, 0, 1)]
  assert digests[0] == digests[1] != digests[2]


def likes(ratings):
  """`[U, items]` 0 and 1."""
  matrix = np.zeros((ratings.n_users, ratings.n_items))
  matrix[ratings.user, ratings.item] = 1
  return matrix


def regression(known, unknown, new, ridge):
  """What people with the features `new` like, learnt from the others."""
  x, z = (np.c_[part, np.ones(len(part))] for part in (known, new))
  gram = x.T @ x + ridge * np.eye(x.shape[1])
  return z @ np.linalg.solve(gram, x.T @ unknown)


def area(score, liked):
  """How often what somebody likes scores above what they do not."""
  rank = score.argsort(axis=1).argsort(axis=1)  # [U, items]
  n = liked.sum(axis=1)
  below = (rank * liked).sum(axis=1) - n * (n - 1) / 2
  return np.mean(below / (n * (liked.shape[1] - n)))


@pytest.mark.parametrize('seed', range(5))
def test_source_and_vectors_tell_what_new_people_like_in_the_target(seed):
  pair = synthetic.implicit(seed).pair
  source, target = likes(pair.source), likes(pair.target)
  old = np.arange(len(target)) % 2 == 0
  new = ~old

  def told_by(features, ridge):
    score = regression(features[old], target[old], features[new], ridge)
    return area(score, target[new])

  popular = told_by(np.zeros((len(target), 0)), 1)
  assert told_by(source, 20) > popular + 0.02
  assert told_by(pair.side, 1) > popular + 0.02


# --- The planted taste ------------------------------------------------------


def biases(ratings, ridge=2.0):
  """Global mean, user and item biases, by alternating ridge regression."""
  mean = ratings.value.mean()
  user, item = np.zeros(ratings.n_users), np.zeros(ratings.n_items)
  for _ in range(20):
    for mine, other, ids, its in (
      (user, item, ratings.user, ratings.item),
      (item, user, ratings.item, ratings.user),
    ):
      left = np.bincount(ids, ratings.value - mean - other[its], mine.size)
      mine[:] = left / (np.bincount(ids, minlength=mine.size) + ridge)
  return lambda u, i: mean + user[u] + item[i]


def factors(ratings, width=4, ridge=1.0):
  """Biases, then factors of what they leave, by alternating least squares."""
  floor = biases(ratings)
  left = ratings.value - floor(ratings.user, ratings.item)
  rng = np.random.default_rng(0)
  user = np.zeros((ratings.n_users, width))
  item = rng.normal(size=(ratings.n_items, width))
  for _ in range(15):
    for mine, other, ids, its in (
      (user, item, ratings.user, ratings.item),
      (item, user, ratings.item, ratings.user),
    ):
      for k in range(len(mine)):
        x = other[its[ids == k]]
        gram = x.T @ x + ridge * np.eye(width)
        mine[k] = np.linalg.solve(gram, x.T @ left[ids == k])
  return lambda u, i: floor(u, i) + (user[u] * item[i]).sum(axis=1)


def rmse(predict, held):
  error = predict(held.user, held.item) - held.value
  return np.sqrt(np.mean(error**2))


@pytest.mark.parametrize('seed', range(5))
def test_taste_is_worth_more_than_biases_and_the_source_knows_it(seed):
  split = splits.by_ratio(synthetic.pair(seed).pair, seed, test=0.2)
  target, held = split.train.target, split.test.target
  floor = rmse(biases(target), held)
  alone = rmse(factors(target), held)
  merged = rmse(factors(views.merged(split.train)), held)
  assert floor < rmse(lambda u, i: target.value.mean(), held)
  assert alone < 0.9 * floor
  assert merged < alone


def test_without_taste_factors_find_nothing():
  pair = synthetic.pair(0, taste=0).pair
  split = splits.by_ratio(pair, 0, test=0.2)
  target, held = split.train.target, split.test.target
  assert rmse(factors(target), held) > rmse(biases(target), held)
