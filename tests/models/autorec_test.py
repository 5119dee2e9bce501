"""AutoRec against the golden numbers and against its dense form."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests import helpers
from xdomain import base, stages
from xdomain.data import device
from xdomain.evaluation import ratings
from xdomain.models import autorec
from xdomain.ops import sparse
from xdomain.training import loop

# Those of the dense forms as well.
pytestmark = pytest.mark.usefixtures('full_products')
AXES = pytest.mark.parametrize('axis', ['user', 'item'])


def golden_params(axis):
  """The parameters that the golden numbers were computed with."""
  columns = {'user': 6, 'item': 5}[axis]
  tree = {
    'encoder': {
      'table': helpers.wave((columns, 3), 1),
      'bias': helpers.wave((3,), 2),
    },
    'decoder': {
      'table': helpers.wave((columns, 3), 3),
      'bias': helpers.wave((columns,), 4, scale=1, shift=3),
    },
  }
  return jax.tree.map(jnp.asarray, tree)


def named_as_golden(tree):
  """A tree of AutoRec's parameters under the names of the golden numbers."""
  encoder, decoder = tree['encoder'], tree['decoder']
  return {
    'W1': encoder['table'],
    'b1': encoder['bias'],
    'W2': decoder['table'],
    'b2': decoder['bias'],
  }


def squares(tree):
  """The sum of all squares."""
  return sum(jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(tree))


def one_step(axis, padding=0):
  """Loss and gradients of a step over all rows, as sums over ratings."""
  sizes, data, _ = helpers.golden_arrays()
  stage = autorec.model(sizes, axis=axis, embed=3, batch=8 + padding).stages[0]
  rows = data.target.along(axis)
  hyper = autorec.Hyper(alpha=0.01 / rows.n_entries, offset=0.0)
  state = helpers.jitted(stage.init)(jax.random.key(0), data, hyper, ())
  params = golden_params(axis)
  moments = jax.tree.map(np.zeros_like, params)
  moments = state.moments._replace(mu=moments, nu=moments)
  state = state._replace(params=params, moments=moments)
  (visit,) = helpers.jitted(stage.epoch)(jax.random.key(0), data)
  state, metrics = helpers.jitted(stage.step)(
    state, visit, data, jax.random.key(0), hyper
  )
  # Adam's first moment is a tenth of the first gradient.
  gradients = jax.tree.map(
    lambda m: rows.n_entries * m / 0.1, jax.device_get(state.moments.mu)
  )
  penalty = hyper.alpha * squares(params)
  return rows.n_entries * (metrics['loss'] + penalty), gradients


@AXES
@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize('dense', [0.0, 2.0])
def test_loss_and_every_gradient_are_those_of_another_implementation(
  axis, padding, dense, monkeypatch
):
  monkeypatch.setattr(sparse, 'DENSE', dense)
  expected = helpers.golden('golden_rating')[f'{axis[0].upper()}-AutoRec']
  with jax.enable_x64(True):
    loss, gradients = one_step(axis, padding)
  np.testing.assert_allclose(loss, expected['loss'], rtol=1e-7)
  gradients = named_as_golden(gradients)
  theirs = {name: jnp.array(expected[f'grad/{name}']) for name in gradients}
  chex.assert_trees_all_close(gradients, theirs, atol=1e-7)


@AXES
def test_predictions_are_those_of_another_implementation(axis):
  expected = helpers.golden('golden_rating')[f'{axis[0].upper()}-AutoRec']
  with jax.enable_x64(True):
    sizes, data, queries = helpers.golden_arrays()
    model = autorec.model(sizes, axis=axis, embed=3)
    state = stages.GradientState(golden_params(axis), 0.0, ())
    score = helpers.scorer(model.predict)(state, data)
    raw = score(queries.user, queries.item)[:, 0]
    np.testing.assert_allclose(raw, expected['pred_test_raw'], rtol=1e-9)
    hidden = autorec.encode_all(state.params, data.target.along(axis))
    np.testing.assert_allclose(hidden, expected['hidden'], rtol=1e-9)


def test_measures_with_the_fallback_are_those_of_another_implementation():
  expected = helpers.golden('golden_rating')['protocol']
  with jax.enable_x64(True):
    sizes, data, queries = helpers.golden_arrays()
    model = autorec.model(sizes, axis='user', embed=3)
    state = stages.GradientState(golden_params('user'), 0.0, ())
    predictions = ratings.predict_ratings(model, state, data, queries, (1, 5))
  np.testing.assert_allclose(
    predictions.rating, expected['U-AutoRec_pred_with_fallback'], rtol=1e-7
  )
  np.testing.assert_array_equal(predictions.warm, expected['warm_mask'])
  measures = ratings.rating_measures(predictions)
  np.testing.assert_allclose(
    [measures['rmse'], measures['rmse_warm'], measures['mae']],
    expected['rmse_all,rmse_warm,mae_all'],
    rtol=1e-7,  # The mean of the ratings is a float32.
  )


def dense_loss(params, level, value, mask, count, hyper):
  """The same loss over full matrices: the textbook form."""
  encoder, decoder = params['encoder'], params['decoder']
  hidden = jax.nn.sigmoid(value @ encoder['table'] + encoder['bias'])
  prediction = level + hidden @ decoder['table'].T + decoder['bias']
  error = mask * (prediction - value)
  return jnp.sum(error**2) / count + hyper.alpha * squares(params)


@AXES
@pytest.mark.parametrize('dense', [0.0, 2.0])
def test_an_epoch_equals_the_dense_form_with_adam(axis, dense, monkeypatch):
  monkeypatch.setattr(sparse, 'DENSE', dense)
  small = helpers.small(source_ratings=300, target_ratings=400)
  rows = small.data.target.along(axis)
  model = autorec.model(small.sizes, axis=axis, embed=8, batch=16)
  (stage,) = model.stages
  hyper = autorec.Hyper(lr=0.01, alpha=1e-3)
  state = helpers.jitted(stage.init)(jax.random.key(0), small.data, hyper, ())
  params, level = state.params, state.frozen
  tx = optax.adam(hyper.lr)
  moments, update = helpers.jitted(tx.init)(params), helpers.jitted(tx.update)
  value = np.zeros((rows.n_rows + 1, rows.n_columns), np.float32)
  value[rows.row, rows.column] = rows.value
  visits = helpers.jitted(stage.epoch)(jax.random.key(1), small.data)
  slope = helpers.jitted(jax.grad(dense_loss))
  for visit in visits:
    batch, real = value[visit], np.sum(visit < rows.n_rows)
    count = rows.n_entries * real / rows.n_rows
    gradient = slope(params, level, batch, batch > 0, count, hyper)
    updates, moments = update(gradient, moments)
    params = jax.tree.map(np.add, *jax.device_get((params, updates)))
  step = helpers.jitted(stage.step)
  for visit in visits:
    state, _ = step(state, visit, small.data, jax.random.key(0), hyper)
  chex.assert_trees_all_close(state.params, params, atol=2e-5)


@pytest.mark.parametrize('penalise', [0.0, 1.0])
def test_biases_are_penalised_when_asked(penalise):
  small = helpers.small()
  (stage,) = autorec.model(small.sizes, axis='user', embed=8).stages
  hyper = autorec.Hyper(alpha=100.0, penalise_bias=penalise)
  state = helpers.jitted(stage.init)(jax.random.key(0), small.data, hyper, ())
  state.params['decoder']['bias'] = jnp.full(small.sizes.target, 0.5)
  (visit,) = helpers.jitted(stage.epoch)(jax.random.key(0), small.data)[:1]
  after, _ = helpers.jitted(stage.step)(
    state, visit, small.data, jax.random.key(0), hyper
  )
  # A tenth of the gradient of 100 b^2 at .5, beside data terms of order .1.
  pull = float(jnp.mean(after.moments.mu['decoder']['bias']))
  assert abs(pull - penalise * 10) < 0.1


@pytest.mark.matrix
def test_item_autorec_is_user_autorec_of_the_transpose():
  small = helpers.small()
  turned = base.Domain(small.data.target.by_item, small.data.target.by_user)
  data = small.data._replace(target=turned)
  users, _, target = small.sizes
  sizes = small.sizes._replace(users=target, target=users)
  ends = []
  for axis, *pair in (('user', small.sizes, small.data), ('item', sizes, data)):
    model = autorec.model(pair[0], axis=axis, embed=8)
    hyper = autorec.Hyper()
    ends.append(loop.fit(model, jax.random.key(0), pair[1], hyper, epochs=2))
  chex.assert_trees_all_equal(*(end.best_of() for end in ends))


@AXES
def test_parameters_are_counted_as_in_the_paper(axis):
  # Two matrices, columns x k and k x columns, and two biases (Sedhain 2015).
  small = helpers.small()
  columns = {'user': small.sizes.target, 'item': small.sizes.users}[axis]
  (stage,) = autorec.model(small.sizes, axis=axis, embed=8).stages
  state = helpers.jitted(stage.init)(jax.random.key(0), small.data, autorec.Hyper(), ())
  assert helpers.count(state.params) == 2 * columns * 8 + 8 + columns
  chex.assert_shape(state.params['encoder']['table'], (columns, 8))


@pytest.mark.matrix
def test_training_costs_entries_and_not_users_times_items():
  small = helpers.small(
    0,
    users=3000,
    source=50,
    target=4000,
    source_ratings=3000,
    target_ratings=6000,
  )
  model = autorec.model(small.sizes, axis='user', embed=4, batch=1000)
  hyper = autorec.Hyper()
  (stage,) = model.stages
  state = helpers.jitted(stage.init)(jax.random.key(0), small.data, hyper, ())
  compiled = loop.epoch.lower(
    stage, state, jax.random.key(0), small.data, hyper
  ).compile()
  batch_of_users_times_items = 4 * 1000 * small.sizes.target
  memory = compiled.memory_analysis().temp_size_in_bytes
  assert memory < batch_of_users_times_items / 4


@pytest.mark.matrix
@AXES
def test_a_planted_taste_is_found(axis):
  small, floor = helpers.planted()
  ours = loop.fit(
    autorec.model(small.sizes, axis=axis, embed=64, batch=32),
    jax.random.key(0),
    small.data,
    autorec.Hyper(lr=3e-3, alpha=1e-4),
    epochs=40,
    valid=small.valid,
    measure=small.measure,
  )
  assert ours.best_value < 0.95 * floor


def test_an_unknown_axis_is_answered_with_the_known_ones():
  with pytest.raises(ValueError, match="'usr'; did you mean 'user'"):
    autorec.model(helpers.small().sizes, axis='usr')


@pytest.mark.parametrize('axis', ['user', 'item'])
def test_a_resident_matrix_trains_as_the_entries_do(axis, monkeypatch):
  monkeypatch.setattr(sparse, 'DENSE', 2.0)  # Entries are never made cells.
  small = helpers.small()
  (stage,) = autorec.model(small.sizes, axis=axis, embed=6, batch=16).stages
  matrix = small.data._replace(
    target=base.Domain(*map(device.with_matrix, small.data.target))
  )
  key, hyper = jax.random.key(0), autorec.Hyper()

  def epoch(data):
    state = helpers.jitted(stage.init)(key, data, hyper, ())
    return loop.epoch(stage, state, key, data, hyper)

  (entries, metrics, _), (cells, same, _) = epoch(small.data), epoch(matrix)
  chex.assert_trees_all_close(entries.params, cells.params, rtol=1e-4, atol=1e-5)
  chex.assert_trees_all_close(metrics, same, rtol=1e-5)
