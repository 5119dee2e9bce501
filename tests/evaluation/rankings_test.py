import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import base
from xdomain.data import device, types
from xdomain.evaluation import rankings, ratings
from xdomain.models import kernel_als

CUTOFFS = (1, 2, 3, 5)
GOLDEN = helpers.golden('golden_ranking')


def table_model(scores, with_all=False):
  """A model that says what stands in a table `[U, items]`."""
  scores = jnp.asarray(scores)

  def predict(state, data):
    return lambda users, items: scores[users[:, None], items]

  def predict_all(state, data):
    return lambda users: scores[users]

  return base.Model((), predict, predict_all=predict_all if with_all else None)


def queries(user, item, negatives):
  held = types.HeldOut(
    np.array(user), np.array(item), np.ones(len(user)), np.array(negatives)
  )
  return device.ranking_queries(held)


def known(events, n_users, n_items):
  return device.domain(
    helpers.ratings_of([[u, i, 1] for u, i in events], n_users, n_items)
  ).by_user


def golden_ranks():
  """The golden scores as users with six items, the held-out one first."""
  expected = GOLDEN['metrics']
  held = np.array(expected['test_scores'])[:, None]
  scores = np.concatenate([held, expected['negative_scores']], axis=1)
  users, items = scores.shape
  asked = queries(range(users), [0] * users, [range(1, items)] * users)
  seen = known([(u, 0) for u in range(users)], users, items)
  return rankings.ranks(table_model(scores), None, None, asked, seen)


def test_a_tie_counts_against_the_model():
  ranks = golden_ranks()
  expected = GOLDEN['metrics']
  np.testing.assert_array_equal(ranks.sampled, expected['rank0_pessimistic'])
  np.testing.assert_array_equal(ranks.full, expected['rank0_pessimistic'])
  np.testing.assert_array_equal(
    ranks.sampled - ranks.tied, expected['rank0_optimistic']
  )


def test_measures_are_those_of_another_implementation():
  means = rankings.gains(golden_ranks().sampled, CUTOFFS).mean(axis=0)
  means = dict(zip(rankings.names(CUTOFFS), means))
  expected = GOLDEN['metrics']
  for k, name in itertools.product(CUTOFFS, ('hr', 'ndcg')):
    key = f'{name}@{k}'
    assert means[key] == pytest.approx(expected[f'{key}_pessimistic'])
  assert means['mrr@3'] == pytest.approx(expected['mrr@3_pessimistic'])


def test_nan_counts_against_the_model():
  for scores in ([[np.nan, 0, 1]], [[5, np.nan, np.nan]], [[np.nan] * 3]):
    ranks = rankings.ranks(
      table_model(scores),
      None,
      None,
      queries([0], [0], [[1, 2]]),
      known([(0, 0)], 1, 3),
    )
    assert (ranks.sampled, ranks.full) == (2, 2)


def test_a_constant_scorer_is_last():
  scores = np.zeros((3, 200))
  asked = queries([0, 1, 2], [5, 6, 7], [np.arange(100, 199)] * 3)
  seen = known([(0, 5), (1, 6), (2, 7)], 3, 200)
  ranks = rankings.ranks(table_model(scores), None, None, asked, seen)
  measures = rankings.ranking_measures(ranks)
  assert measures['sampled']['hr@50'] == 0
  assert measures['full']['hr@50'] == 0
  assert measures['tie_gap'] == 1


def test_known_items_are_left_out_of_the_catalogue_and_padding_of_the_sample():
  scores = [[0.5, 0.9, 0.8, 0.7, 0.1], [0.5, 0.9, 0.8, 0.7, 0.1]]
  asked = queries([0, 1], [0, 4], [[1, -1], [2, 3]])
  seen = known([(0, 0), (0, 1), (0, 3), (1, 4)], 2, 5)
  ranks = rankings.ranks(table_model(scores), None, None, asked, seen)
  np.testing.assert_array_equal(ranks.sampled, [1, 2])
  np.testing.assert_array_equal(ranks.candidates, [2, 3])
  np.testing.assert_array_equal(ranks.full, [1, 4])
  np.testing.assert_array_equal(ranks.catalogue, [3, 5])


@pytest.mark.optimised  # As the commands compile: fusions are what it is about.
def test_scores_that_are_computed_twice_count_a_held_item_once():
  # XLA may fuse the formula of a score into each of its uses, rounded differently.
  random = np.random.default_rng(0)
  user, item = jnp.asarray(random.normal(size=(2, 300, 24)), jnp.float32)
  popular = jnp.asarray(random.normal(size=300), jnp.float32)

  def blended(users):
    parts = [
      kernel_als.standardised(user[users][:, some] @ item[:, some].T)
      for some in (slice(0, 16), slice(16, 24))
    ]
    return 0.7 * parts[0] + 0.3 * parts[1] + 0.1 * popular

  model = base.Model((), None, predict_all=lambda state, data: blended)
  scores = np.asarray(blended(jnp.arange(300)))
  first = np.argmax(scores, axis=1)
  seen = known(list(enumerate(first)), 300, 300)
  asked = queries(range(300), first, np.zeros((300, 0), int))
  nothing = np.zeros(300, int)
  ranks = rankings.ranks(model, None, None, asked, seen, (nothing, nothing))
  np.testing.assert_array_equal(ranks.full, 0)
  np.testing.assert_array_equal(ranks.catalogue, 300)


@pytest.mark.parametrize('cells', [1, 90, 10**9])
@pytest.mark.parametrize('with_all', [False, True])
def test_ranks_are_those_of_a_sort_however_they_are_blocked(
  cells, with_all, monkeypatch
):
  monkeypatch.setattr(rankings, 'CELLS', cells)
  monkeypatch.setattr(rankings, 'FEWEST', 1)
  rng = np.random.default_rng(0)
  scores = rng.normal(size=(7, 33 if with_all else 30))
  liked = {(u, int(i)) for u in range(7) for i in rng.choice(30, 4 + u, False)}
  asked = [(u, i) for u, i in liked if rng.random() < 0.6]
  others = [rng.choice(30, 9, False) for _ in asked]
  user, item = map(np.array, zip(*asked))
  ranks = rankings.ranks(
    table_model(scores, with_all),
    None,
    None,
    queries(user, item, others),
    known(liked, 7, 30),
  )
  for k, (u, i) in enumerate(asked):
    rest = [j for j in range(30) if (u, j) not in liked]
    assert ranks.full[k] == sum(scores[u, j] >= scores[u, i] for j in rest)
    assert ranks.catalogue[k] == 1 + len(rest)
    assert ranks.sampled[k] == sum(scores[u, others[k]] >= scores[u, i])


@pytest.mark.parametrize('cells', [1, 90, 10**9])
@pytest.mark.parametrize('with_all', [False, True])
def test_the_best_are_those_of_a_sort_however_they_are_blocked(
  cells, with_all, monkeypatch
):
  monkeypatch.setattr(rankings, 'CELLS', cells)
  monkeypatch.setattr(rankings, 'FEWEST', 1)
  rng = np.random.default_rng(0)
  scores = rng.normal(size=(7, 33 if with_all else 30))
  scores[3, 4] = np.nan
  liked = {(u, int(i)) for u in range(7) for i in rng.choice(30, 4 * u, False)}
  users = np.array([6, 3, 3, 0, 5])
  items, values = rankings.best(
    table_model(scores, with_all), None, None, known(liked, 7, 30), users, 8
  )
  for user, best, value in zip(users, items, values):
    rest = [i for i in range(30) if (user, i) not in liked]
    rest = [i for i in rest if not np.isnan(scores[user, i])]
    rest.sort(key=lambda item: -scores[user, item])
    real = np.isfinite(value)
    assert best[real].tolist() == rest[:8]
    np.testing.assert_allclose(value[real], scores[user, rest[:8]], rtol=1e-6)


def test_untrained_predictions_are_the_mean_where_ratings_are_predicted():
  rated = [[0, 0, 2], [1, 0, 4], [1, 1, 5]]
  domain = device.domain(helpers.ratings_of(rated, 2, 4))
  data = base.Arrays(domain, domain)  # Its mean is 11 / 3.
  model = table_model([[9, 3, 3.5, 4], [9, 9, 1, 7]])._replace(
    trained=lambda data, users, items: items != 3
  )
  args = model, None, data, domain.by_user, np.array([0, 1]), 3
  items, values = rankings.best(*args, trained_on=data)
  assert items[0].tolist() == [3, 2, 1]
  np.testing.assert_allclose(values[0], [11 / 3, 3.5, 3], rtol=1e-6)
  np.testing.assert_allclose(values[1], [11 / 3, 1, -np.inf], rtol=1e-6)
  items, _ = rankings.best(*args)
  assert items[0].tolist() == [3, 2, 1] and items[1, :2].tolist() == [3, 2]


def test_the_expected_sample_is_that_of_krichene_and_rendle():
  expected = GOLDEN['sampled_correction']
  gain = rankings.expected_gains([3], [expected['n']], expected['m'], (2,))
  key = 'expected_sampled_hr2_at_full_rank4_without_replacement'
  assert gain[0, 0] == pytest.approx(expected[key])


def test_sampled_measures_can_turn_an_order_round():
  flip = GOLDEN['sampled_correction']['flip_example']
  size = np.full(3, flip['n_items'])
  for k, model in enumerate('AB'):
    place = np.array(flip[f'ranks_{model}']) - 1
    full = rankings.gains(place, (10,))[:, 0].mean()
    sampled = rankings.expected_gains(place, size, 99, (10,))[:, 0].mean()
    assert full == pytest.approx(flip['full_hr10'][k])
    assert sampled == pytest.approx(flip['expected_sampled_hr10_99'][k], rel=1e-4)


def test_the_expected_sample_is_the_mean_of_samples():
  rng = np.random.default_rng(0)
  others = np.arange(40) < 7  # Seven of forty are above.
  drawn = [rng.choice(others, 9, replace=False).sum() for _ in range(20000)]
  sampled = rankings.gains(np.array(drawn), CUTOFFS).mean(axis=0)
  expected = rankings.expected_gains([7], [41], 9, CUTOFFS)[0]
  np.testing.assert_allclose(sampled, expected, atol=0.01)


def test_a_random_scorer_reaches_what_chance_does():
  expected = GOLDEN['random_baseline_99neg']
  means = rankings.gains(np.arange(100)).mean(axis=0)
  means = dict(zip(rankings.names(), means))
  for key in means.keys() & expected.keys():
    assert means[key] == pytest.approx(expected[key])


def test_users_with_many_queries_are_weighed_in_two_ways():
  place = np.array([0, 99, 99, 99])
  ranks = rankings.Ranks(
    np.array([0, 1, 1, 1]),
    place,
    place,
    0 * place,
    0 * place + 100,
    place,
    0 * place + 100,
  )
  measures = rankings.ranking_measures(ranks)
  assert measures['sampled']['hr@10'] == 0.25
  assert measures['sampled_macro']['hr@10'] == 0.5
  assert (measures['queries'], measures['users']) == (4, 2)


def test_the_interval_covers_the_mean_and_narrows_with_users():
  rng = np.random.default_rng(0)
  widths = []
  for n in (100, 10000):
    hit = rng.random((n, 1)) < 0.3
    low, high = rankings.interval(np.arange(n), hit.astype(float))
    assert low < hit.mean() < high
    widths.append(high - low)
  assert widths[1] < 0.15 * widths[0]


def test_what_is_validated_is_one_less_ndcg():
  scores = jnp.asarray([[3.0, 2, 1], [1.0, 2, 3]])
  asked = queries([0, 1], [0, 0], [[1, 2], [1, 2]])
  value, _ = rankings.Unranked(cutoff=3)(
    table_model(scores).predict(None, None), None, asked
  )
  assert value == pytest.approx(1 - (1 + 1 / np.log2(4)) / 2)


def test_the_seed_of_an_interval_decides():
  error = np.random.default_rng(0).normal(size=50)
  for interval in (
    lambda seed: ratings.error_interval(np.arange(50), error, seed=seed),
    lambda seed: rankings.interval(np.arange(50), error[:, None], seed=seed),
  ):
    one, again, two = (np.ravel(interval(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.any(one != two)


def test_in_a_small_catalogue_all_others_are_drawn():
  gain = rankings.expected_gains([3, 0, 7], [8, 1, 8], 99, (1, 5))
  expected = rankings.gains([3, 0, 7], (1, 5))
  np.testing.assert_allclose(gain, expected, rtol=1e-12)


def test_the_interval_is_that_of_resampled_users():
  rng = np.random.default_rng(0)
  user = np.repeat(np.arange(40), np.arange(40) % 7 + 1)
  gain = (rng.random((user.size, 1)) < user[:, None] % 7 / 7).astype(float)
  totals, counts = np.bincount(user, gain[:, 0]), np.bincount(user)
  draws = rng.integers(0, 40, (20_000, 40))
  means = totals[draws].sum(1) / counts[draws].sum(1)
  got = rankings.interval(user, gain, resamples=5000)
  np.testing.assert_allclose(got[:, 0], np.percentile(means, [2.5, 97.5]), rtol=0.02)


def test_what_is_validated_stops_at_the_cutoff():
  scores = jnp.asarray([[3.0, 2, 1], [2.5, 3, 1], [1.0, 2, 3]])
  asked = queries([0, 1, 2], [0] * 3, [[1, 2]] * 3)
  score = table_model(scores).predict(None, None)
  for cutoff, gain in ((1, 1), (2, 1 + 1 / np.log2(3))):
    for padded in (asked, asked.padded(5)):
      value, _ = rankings.Unranked(cutoff)(score, None, padded)
      assert value == pytest.approx(1 - gain / 3)


def test_a_tie_at_the_tenth_place_is_no_gap():
  place = np.array([10])
  ranks = rankings.Ranks(
    np.array([0]),
    np.array([0]),
    place,
    np.array([0]),
    np.array([100]),
    place,
    np.array([100]),
  )
  tied = ranks._replace(tied=np.array([1]))
  assert rankings.ranking_measures(ranks)['tie_gap'] == 0
  assert rankings.ranking_measures(tied)['tie_gap'] == 1


def test_fallbacks_are_of_the_user_who_is_asked_about_and_of_the_target():
  rated = [[0, 0, 2], [1, 0, 4], [1, 1, 5]]
  target = device.domain(helpers.ratings_of(rated, 2, 4))
  source = device.domain(helpers.ratings_of([[0, 0, 1]], 2, 1))
  data = base.Arrays(source, target)
  model = table_model([[9, 3, 3.5, 4], [9, 9, 1, 7]])._replace(
    trained=lambda data, users, items: (users == 0) | (items == 2)
  )
  items, values = rankings.best(
    model, None, data, target.by_user, np.array([1]), 2, trained_on=data
  )
  assert items[0].tolist() == [3, 2]
  np.testing.assert_allclose(values[0], [11 / 3, 1], rtol=1e-6)


def test_expected_gains_are_those_of_the_hypergeometric_distribution():
  rng = np.random.default_rng(2)
  size = rng.integers(1, 3000, 60)
  place = (size * rng.random(60) ** 4).astype(int)
  k = np.arange(20)
  drawn = np.minimum(99, size - 1)[:, None]
  from scipy import stats  # A second, so only where it is used.

  above = stats.hypergeom.pmf(
    k, np.maximum(size - 1, 1)[:, None], place[:, None], drawn
  )
  expected = above @ rankings.gains(k, (5, 20))
  ours = rankings.expected_gains(place, size, 99, (5, 20))
  np.testing.assert_allclose(ours, expected, atol=1e-9)
