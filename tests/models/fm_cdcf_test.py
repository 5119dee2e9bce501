"""FM-CDCF against the golden numbers and against the definition of an FM."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests import helpers
from xdomain import stages
from xdomain.data import device
from xdomain.models import fm_cdcf
from xdomain.ops import sparse
from xdomain.training import loop


def expected():
  return helpers.golden('golden_rating')['FM-CDCF']


def golden_step(padding=0, params=None):
  """Loss and gradients of a step over all users, as sums over ratings."""
  sizes, data, _ = helpers.golden_arrays()
  (stage,) = fm_cdcf.model(sizes, factors=2, batch=5 + padding).stages
  n = data.target.by_user.n_entries
  hyper = fm_cdcf.Hyper(0.0, lambda_w=0.05 / n, lambda_v=0.1 / n)
  params = helpers.fm_golden_params() if params is None else params
  moments = helpers.jitted(optax.scale_by_adam().init)(params)
  state = stages.GradientState(params, hyper.centre, moments)
  (visit,) = helpers.jitted(stage.epoch)(jax.random.key(0), data)
  state, metrics = helpers.jitted(stage.step)(
    state, visit, data, jax.random.key(0), hyper
  )
  # Adam's first moment is a tenth of the first gradient.
  gradient = jax.tree.map(lambda m: n / 2 * m / 0.1, jax.device_get(state.moments.mu))
  penalty = hyper.lambda_w * squares(params.weight)
  penalty += hyper.lambda_v * squares(params.factor)
  return n / 2 * (metrics['loss'] + penalty), gradient


def squares(tree):
  return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize('dense', [0.0, 2.0])
def test_loss_and_every_gradient_are_those_of_another_implementation(
  padding, dense, monkeypatch
):
  monkeypatch.setattr(sparse, 'DENSE', dense)
  with jax.enable_x64(True):
    loss, gradient = golden_step(padding)
  np.testing.assert_allclose(loss, expected()['loss'], rtol=1e-7)
  for ours, name in zip(gradient, ('grad/w0', 'grad/w', 'grad/V')):
    ours = np.concatenate([np.atleast_1d(x) for x in jax.tree.leaves(ours)])
    np.testing.assert_allclose(ours, expected()[name], atol=1e-6)


def test_predictions_are_those_of_another_implementation():
  with jax.enable_x64(True):
    sizes, data, queries = helpers.golden_arrays()
    model = fm_cdcf.model(sizes, factors=2)
    score = model.predict(
      stages.GradientState(helpers.fm_golden_params(), 0.0, ()), data
    )
    held_out = score(queries.user, queries.item)[:, 0]
    rows = data.target.by_user
    known = score(rows.row, rows.column[:, None])[:, 0]
  np.testing.assert_allclose(held_out, expected()['pred_test_raw'], rtol=1e-9)
  np.testing.assert_allclose(known, expected()['pred_train'], rtol=1e-9)


@pytest.mark.matrix
def test_the_best_value_of_one_factor_is_that_of_another_implementation():
  def loss(value):
    params = helpers.fm_golden_params()
    factor = params.factor
    source = factor.source.at[1, 0].set(value)
    params = params._replace(factor=factor._replace(source=source))
    return float(golden_step(params=params)[0])

  with jax.enable_x64(True):
    low, middle, high = (loss(value) for value in (-1.0, 0.0, 1.0))
  best = (low - high) / (2 * (low - 2 * middle + high))  # of a parabola
  name = 'als_update(source item 1, factor 0)'
  np.testing.assert_allclose(best, expected()[name], rtol=1e-6)


@pytest.mark.parametrize('centre', [0.0, 0.7])
def test_it_is_the_factorisation_machine_of_all_pairs_of_features(centre):
  small = helpers.small()
  model = fm_cdcf.model(small.sizes, factors=3)
  params = fm_cdcf.start(jax.random.key(0), small.data, 3)
  weight = jax.tree.map(lambda w: jnp.cos(jnp.arange(w.size)), params.weight)
  params = params._replace(weight=weight)
  v, w = np.concatenate(params.factor), np.concatenate(weight)
  crossed = np.triu(v @ v.T, 1)
  x = helpers.fm_features(small, centre)
  expected = params.level + x @ w + np.einsum('uta,ab,utb->ut', x, crossed, x)
  users = jnp.arange(small.sizes.users)
  items = jnp.tile(jnp.arange(small.sizes.target), (users.size, 1))
  score = model.predict(stages.GradientState(params, centre, ()), small.data)
  np.testing.assert_allclose(score(users, items), expected, atol=1e-4)


@pytest.mark.matrix
def test_the_users_with_the_most_source_ratings_fit_into_one_batch():
  small = helpers.small()
  rows = small.data.source.by_user
  heavy = rows.order[:8]
  source = fm_cdcf.source_entries(small.data, heavy)
  assert np.all(np.isfinite(source.value))
  at = source.weight > 0
  for index, user in enumerate(heavy):
    theirs = slice(rows.start[user], rows.start[user + 1])
    ours = at & (source.segment == index)
    np.testing.assert_array_equal(source.column[ours], rows.column[theirs])
    np.testing.assert_array_equal(source.value[ours], rows.value[theirs])


@pytest.mark.matrix
def test_what_was_never_rated_stays_zero():
  sizes, data, _ = helpers.golden_arrays()
  end = loop.fit(
    fm_cdcf.model(sizes, factors=2),
    jax.random.key(0),
    data,
    fm_cdcf.Hyper(),
    epochs=3,
  )
  params = end.best_of().params
  assert not np.any(params.factor.target[5])  # Item 5 is only tested.
  assert params.weight.target[5] == 0
  assert np.all(params.weight.target[:5] != 0)


@pytest.mark.matrix
def test_what_a_user_did_elsewhere_is_used():
  small = helpers.small(
    users=400,
    source=40,
    target=80,
    source_ratings=8000,
    target_ratings=4000,
    noise=0.2,
  )
  none = small.split.train.source
  none = none._replace(user=none.user[:0], item=none.item[:0], value=none.value[:0])
  alone = device.put(small.split.train._replace(source=none))

  def best(data):
    return loop.fit(
      fm_cdcf.model(small.sizes, factors=8, batch=32),
      jax.random.key(0),
      data,
      fm_cdcf.Hyper(lr=1e-2, lambda_v=3e-4, centre=1.0),
      epochs=50,
      valid=small.valid,
      measure=small.measure,
    ).best_value

  assert best(small.data) < 0.9 * best(alone)
