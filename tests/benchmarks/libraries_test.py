import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import libraries
from experiments import arguments
from tests import helpers
from xdomain.data import device, types
from xdomain.evaluation import rankings

ROOT = pathlib.Path(__file__).parent.parent.parent


def cells(line):
  return [cell.strip() for cell in line.strip('|').split('|')]


def constant(pair, *, value, extra=0):
  """A library that says the same of everything."""
  assert isinstance(pair.target, types.Ratings)
  return lambda users, items: np.full(users.shape, value + extra)


def imaginary(fit=constant, **grid):
  return libraries.Library('configs/bias.py', 'const', 'const-lib', fit, grid)


def held(*values):
  ids = np.zeros(len(values), int)
  domain = types.HeldOut(ids, ids, np.array(values, float))
  return types.PerDomain(domain, domain)


def test_validation_chooses_the_settings_and_the_test_set_does_not():
  train = helpers.small().split.train
  split = types.Split(train, valid=held(2.0, 4.0), test=held(5.0, 5.0))
  library = imaginary(value=(1.0, 3.0), extra=(0.0, 3.0))
  result = libraries.chosen(library, libraries.RATING, split, (1, 5))
  assert result.settings == {'value': 3.0, 'extra': 0.0}
  assert (result.valid, result.test) == (1.0, (2.0,))


def test_predictions_are_clipped_to_the_scale():
  predict = constant(helpers.small().split.train, value=9.0)
  assert libraries.rmse(predict, held(5.0, 2.0).target, (1, 5)) == (4.5**0.5,)


def test_a_row_sets_ours_beside_the_librarys_best_trial(tmp_path):
  library = imaginary(value=(3.0, 3.5))
  header, _, row = rating_table([library], tmp_path)
  assert tuple(cells(header)) == libraries.header(libraries.RATING)
  name, _, ours, other, _, theirs, difference, settings = cells(row)
  assert (name, other) == ('bias', 'const')
  assert float(ours) < float(theirs)
  assert abs(float(difference) - (float(ours) - float(theirs))) < 2e-4
  assert settings in ('value=3.0', 'value=3.5')


def test_a_missing_library_is_named_with_what_would_bring_it(tmp_path):
  def absent(pair, **settings):
    raise ModuleNotFoundError(name='nolib')

  *_, last = rating_table([imaginary(absent, value=(1,))], tmp_path)
  assert last.strip() == "No module 'nolib': pip install const-lib"


def test_a_matrix_holds_the_training_ratings():
  ratings = helpers.small().split.train.source
  dense = libraries.matrix(ratings).toarray()
  assert dense.shape == (ratings.n_users, ratings.n_items)
  np.testing.assert_array_equal(dense[ratings.user, ratings.item], ratings.value)
  assert np.count_nonzero(dense) == ratings.value.size


def rating_table(several, folder):
  return libraries.table(libraries.RATING, several, True, folder)


def test_rankings_are_judged_as_ours_are():
  small = helpers.implicit()
  held = small.split.test.target
  rng = np.random.default_rng(0)
  shape = small.sizes.users, small.sizes.target
  scores = rng.integers(8, size=shape).astype(np.float32)  # With ties.
  ndcg, hr = libraries.ndcg_and_hr(lambda u, i: scores[u, i], held, None)

  def score(users, items):
    return jnp.asarray(scores)[users[:, None], items]

  place, _ = rankings.places(score, device.ranking_queries(held))
  gains = dict(zip(rankings.names(), rankings.gains(place).mean(axis=0)))
  np.testing.assert_allclose((ndcg, hr), (gains['ndcg@10'], gains['hr@10']))


@pytest.mark.parametrize('task', libraries.TASKS, ids=['rating', 'ranking'])
def test_libraries_stand_beside_configs_of_the_same_split(task):
  _, several = task
  first, *others = (arguments.load(each.config) for each in several)
  for other in others:
    for field in ('data', 'split', 'seed', 'protocol'):
      assert other[field] == first[field]


@pytest.mark.parametrize('library', libraries.RATING_LIBRARIES)
def test_an_installed_library_finds_a_planted_taste(library):
  pytest.importorskip(library.name.split()[0].lower())
  small = helpers.small(
    users=300, source=80, target=120, source_ratings=6000, target_ratings=9000
  )
  result = libraries.chosen(library, libraries.RATING, small.split, (1, 5))
  assert result.test[0] < 0.95 * np.std(small.split.test.target.value)


@pytest.mark.parametrize('library', libraries.RANKING_LIBRARIES)
def test_an_installed_library_ranks_a_planted_taste(library):
  pytest.importorskip(library.name.split()[0].lower())
  small = helpers.implicit()
  result = libraries.chosen(library, libraries.RANKING, small.split, None)
  assert result.test[1] > 0.6
