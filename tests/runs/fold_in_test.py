"""Users who were never trained on are scored as if they had been."""

import importlib

import jax
import numpy as np
import pytest

from tests import helpers
from xdomain import models
from xdomain.data import device, types
from xdomain.training import loop

USERS = [3, 7, 11]
SETTINGS = {
  'autorec': dict(axis='user', embed=4),
  'rbm': dict(axis='user', hidden=4),
  'cf_nade': dict(axis='user', hidden=4),
  'shared_vae': dict(hidden=(8,), latent=4),
  'shared_vae_cold': dict(hidden=(8,), latent=4),
  'single_vae': dict(hidden=(8,), latent=4),
  'mult_vae': dict(hidden=(8,), latent=4),
  'kernel_als': dict(factors=4, sweeps=3, rank=4),
  'ials': dict(factors=4),
  'cmf_implicit': dict(factors=4),
}
EXACT_METHODS = (
  *('autorec', 'bias', 'cf_nade', 'ease', 'item_knn', 'item_knn_rating', 'item_pop'),
  *('mult_vae', 'rbm', 'ridge', 'shared_vae', 'shared_vae_cold', 'single_vae'),
  *('edlae', 'kernel_als', 'low_rank_ridge', 'ntk_ridge'),
)
# Methods that fold in as another one does, which the default suite tries.
ALIKE = (
  *('cf_nade', 'rbm', 'mult_vae', 'single_vae', 'shared_vae', 'shared_vae_cold'),
  *('item_knn_rating', 'edlae', 'low_rank_ridge', 'ntk_ridge', 'kernel_als'),
)
CONVERGED = {'ials': 200, 'cmf_implicit': 400}  # epochs until a fold-in moves nothing
RATING = ('autorec', 'bias', 'cf_nade', 'item_knn_rating', 'rbm')


def some_users(ratings):
  """The interactions of `USERS`, who become users 0, 1 and 2."""
  chosen = np.isin(ratings.user, USERS)
  return ratings._replace(
    user=np.searchsorted(USERS, ratings.user[chosen]).astype(np.int32),
    item=ratings.item[chosen],
    value=ratings.value[chosen],
    n_users=len(USERS),
  )


def scores(name, epochs):
  """The scores of `USERS` after training, and folded in, both `[3, T]`."""
  small = helpers.small() if name in RATING else helpers.implicit()
  module = importlib.import_module(f'xdomain.models.{name}')
  model = module.model(small.sizes, **SETTINGS.get(name, {}))
  hyper = module.Hyper()
  with jax.enable_x64(False):
    progress = loop.fit(model, jax.random.key(0), small.data, hyper, epochs=epochs)
  state = progress.best_of()
  pair = types.Pair(*map(some_users, small.split.train[:2]))
  new = device.put(pair)
  items = np.broadcast_to(np.arange(small.sizes.target), (3, small.sizes.target))
  before = helpers.scorer(model.predict)(state, small.data)(np.array(USERS), items)
  folded = helpers.jitted(model.fold_in)(state, small.data, new, hyper)
  return np.asarray(before), np.asarray(
    helpers.scorer(model.predict)(folded, new)(np.arange(3), items)
  )


def test_every_method_says_whether_it_can():
  names = models.names()
  able = set()
  for name in names:
    module = importlib.import_module(f'xdomain.models.{name}')
    axis = {'axis': 'user'} if name in ('autorec', 'rbm', 'cf_nade') else {}
    if module.model(helpers.small().sizes, **axis).fold_in is not None:
      able.add(name)
  assert able == {*EXACT_METHODS, *CONVERGED}


@pytest.mark.parametrize('axis', ['item'])
@pytest.mark.parametrize('name', ['autorec', 'rbm', 'cf_nade'])
def test_a_method_whose_rows_are_items_cannot(name, axis):
  module = importlib.import_module(f'xdomain.models.{name}')
  assert module.model(helpers.small().sizes, axis=axis).fold_in is None


@pytest.mark.parametrize(
  'name',
  [
    pytest.param(name, marks=pytest.mark.matrix if name in ALIKE else ())
    for name in EXACT_METHODS
  ],
)
def test_the_interactions_of_a_trained_user_give_that_users_scores(name):
  before, folded = scores(name, 2)
  np.testing.assert_allclose(folded, before, rtol=2e-4, atol=2e-5)


@pytest.mark.matrix
@pytest.mark.parametrize('name', CONVERGED)
def test_factors_that_converged_are_those_that_are_folded_in(name):
  before, folded = scores(name, CONVERGED[name])
  np.testing.assert_allclose(folded, before, rtol=2e-2, atol=2e-3)
  assert np.ptp(before, axis=0).max() > 0.05  # Users differ.
