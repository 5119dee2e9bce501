"""RBM against the golden numbers, all its states, and sampled frequencies."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import base, stages
from xdomain.models import rbm
from xdomain.ops import levels, sparse
from xdomain.training import loop

AXES = pytest.mark.parametrize('axis', ['user', 'item'])
SCALE = levels.Scale()


def golden():
  return helpers.golden('golden_rating')['RBM']


def golden_params():
  """The parameters that the golden numbers were computed with."""
  return rbm.Params(
    weight=jnp.asarray(helpers.wave((6, 5, 2), 61, scale=0.5)),
    visible=jnp.asarray(helpers.wave((6, 5), 62)),
    hidden=jnp.asarray(helpers.wave((2,), 63)),
  )


def batch(padding=0):
  """All users of the golden data in one batch, and their levels."""
  _, data, _ = helpers.golden_arrays()
  rows = data.target.by_user
  ids = jnp.minimum(jnp.arange(rows.n_rows + padding), rows.n_rows)
  entries = rows.entries(ids)
  return entries, SCALE.level(entries.value), ids.shape[0]


@functools.partial(jax.jit, static_argnums=3)
def golden_step(params, entries, level, n_rows):
  """States of the hidden units and levels after one given step of sampling."""
  uniform = 0.5 + 0.5 * jnp.sin(2.1 * jnp.arange(1, 2 * n_rows + 1))
  logits = rbm.field(params, entries, level, n_rows)
  hidden = rbm.sample_hidden(logits, uniform.reshape(n_rows, 2))
  cells = 0.5 + 0.5 * jnp.sin(1.7 * jnp.arange(1, 6 * n_rows + 1))
  uniform = cells.reshape(n_rows, 6)[entries.segment, entries.column]
  logits = rbm.visible(params, entries, hidden)
  return hidden, rbm.sample_level(logits, uniform)


def test_states_are_those_of_another_implementation():
  with jax.enable_x64(True):
    entries, level, n_rows = batch()
    hidden, last = map(np.asarray, golden_step(golden_params(), entries, level, n_rows))
  states = golden()['cd1_states(row: h sample, reconstructed ratings)']
  real = np.asarray(entries.weight) > 0
  for row, (units, ratings) in states.items():
    mine = real & (np.asarray(entries.segment) == int(row))
    np.testing.assert_array_equal(hidden[int(row)], units)
    np.testing.assert_array_equal(1 + last[mine], ratings)


@pytest.mark.parametrize('padding', [0, 5])
def test_loss_and_every_gradient_are_those_of_another_implementation(padding):
  expected = golden()
  with jax.enable_x64(True):
    params = golden_params()
    entries, level, n_rows = batch(padding)
    _, last = golden_step(params, entries, level, n_rows)
    loss, gradients = helpers.jitted(
      jax.value_and_grad(rbm.contrast), static_argnums=4
    )(params, entries, level, last, n_rows)
  np.testing.assert_allclose(loss, expected['surrogate_loss'], rtol=1e-9)
  names = {'weight': 'W', 'visible': 'bv', 'hidden': 'bh'}
  for name, theirs in names.items():
    np.testing.assert_allclose(
      -getattr(gradients, name), expected[f'cd1_ascent/{theirs}'], atol=1e-9
    )


def test_predictions_are_those_of_another_implementation():
  with jax.enable_x64(True):
    sizes, data, queries = helpers.golden_arrays()
    model = rbm.model(sizes, axis='user', hidden=2)
    score = model.predict(stages.GradientState(golden_params(), (), ()), data)
    raw = score(queries.user, queries.item)[:, 0]
  np.testing.assert_allclose(raw, golden()['pred_test_meanfield'], rtol=1e-9)


def joint(params, columns):
  """The probability of every state of a row: `[levels..., units...]`, by hand.

  The exponential of minus the energy, over all levels of the columns and all
  binary states of two hidden units.
  """
  table = {}
  for states in itertools.product(range(5), repeat=len(columns)):
    for units in itertools.product((0, 1), repeat=2):
      energy = -np.dot(params.hidden, units)
      for column, level in zip(columns, states):
        energy -= params.visible[column, level]
        energy -= np.dot(params.weight[column, level], units)
      table[states, units] = np.exp(-energy)
  total = sum(table.values())
  return {state: value / total for state, value in table.items()}


def one_row(columns, states):
  n = len(columns)
  entries = sparse.Entries(
    jnp.zeros(n, int), jnp.array(columns), jnp.zeros(n), jnp.ones(n)
  )
  return entries, jnp.array(states)


def test_both_conditionals_and_the_free_energy_are_those_of_all_states():
  params = jax.tree.map(jnp.float32, golden_params())
  columns, states, units = (1, 4), (3, 0), (0, 1)
  table = joint(jax.device_get(params), columns)
  entries, level = one_row(columns, states)

  def sums(keep):
    return sum(value for state, value in table.items() if keep(*state))

  given = sums(lambda v, h: v == states)
  logits = rbm.field(params, entries, level, 1)[0]
  for unit in range(2):
    on = sums(lambda v, h, unit=unit: v == states and h[unit])
    np.testing.assert_allclose(jax.nn.sigmoid(logits[unit]), on / given, rtol=1e-4)
  rated = jax.nn.softmax(rbm.visible(params, entries, jnp.array([units], jnp.float32)))
  for k in range(5):
    seen = sums(lambda v, h, k=k: h == units and v[0] == k)
    total = sums(lambda v, h: h == units)
    np.testing.assert_allclose(rated[0, k], seen / total, rtol=1e-4)
  _, another = one_row(columns, (2, 2))
  fall = rbm.contrast(params, entries, level, another, 1)
  ratio = sums(lambda v, h: v == (2, 2)) / given
  np.testing.assert_allclose(fall, np.log(ratio), rtol=1e-4)


def test_levels_and_units_are_sampled_as_often_as_they_are_likely():
  uniform = (jnp.arange(10000) + 0.5) / 10000
  logits = jnp.array([0.3, -1.0, 2.0, 0.0, -3.0])
  drawn = rbm.sample_level(jnp.tile(logits, (10000, 1)), uniform)
  shares = np.bincount(drawn, minlength=5) / 10000
  np.testing.assert_allclose(shares, jax.nn.softmax(logits), atol=2e-4)
  on = rbm.sample_hidden(jnp.full(10000, 0.7), uniform)
  np.testing.assert_allclose(jnp.mean(on), jax.nn.sigmoid(0.7), atol=2e-4)


def test_a_uniform_number_near_one_samples_the_last_level():
  logits = jnp.log(jnp.full((1, 5), 0.2))
  assert rbm.sample_level(logits, jnp.array([np.nextafter(1, 0)])) == 4


@pytest.mark.matrix
def test_a_long_chain_forgets_the_data():
  """After many steps, levels are as likely as among all states."""
  params = jax.tree.map(jnp.float32, golden_params())
  table = joint(jax.device_get(params), (1,))
  copies = 4000
  entries = sparse.Entries(
    jnp.arange(copies),
    jnp.ones(copies, int),
    jnp.zeros(copies),
    jnp.ones(copies),
  )
  level = jnp.full(copies, 2)
  sample = jax.jit(rbm.sample, static_argnums=(3, 4))
  last, _ = sample(params, entries, level, copies, 5, jax.random.key(0))
  shares = np.bincount(last, minlength=5) / copies
  for k in range(5):
    expected = sum(p for (v, _), p in table.items() if v == (k,))
    assert abs(shares[k] - expected) < 4 * (expected / copies) ** 0.5


def begun(model, small, previous=()):
  """The state that a stage begins with."""
  init = model.stages[len(previous)].init
  return helpers.jitted(init)(jax.random.key(0), small.data, rbm.Hyper(), previous)


def test_a_stage_goes_on_from_where_the_one_before_ended():
  small = helpers.small()
  model = rbm.model(small.sizes, hidden=4, steps=(1, 3))
  first = begun(model, small)
  first = first._replace(params=jax.tree.map(lambda p: p + 1, first.params))
  second = begun(model, small, (first,))
  for one, two in zip(first.params, second.params):
    np.testing.assert_array_equal(one, two)


@pytest.mark.matrix
def test_decay_pulls_the_weights_and_not_the_biases():
  small = helpers.small()
  model = rbm.model(small.sizes, hidden=4, batch=8)
  slopes = []
  for decay in (0.0, 3.0):
    hyper = rbm.Hyper(decay=decay)
    state = begun(model, small)
    (visit, *_) = helpers.jitted(model.stages[0].epoch)(jax.random.key(0), small.data)
    after, _ = helpers.jitted(model.stages[0].step)(
      state, visit, small.data, jax.random.key(0), hyper
    )
    slopes.append(jax.tree.map(lambda m: m / 0.1, jax.device_get(after.moments.mu)))
  pull = jax.tree.map(np.subtract, *slopes[::-1])
  np.testing.assert_allclose(pull.weight, 3 * state.params.weight, atol=1e-4)
  assert not np.any(pull.visible) and not np.any(pull.hidden)


@pytest.mark.matrix
def test_before_training_a_column_predicts_its_smoothed_mean():
  small = helpers.small()
  model = rbm.model(small.sizes, axis='user', hidden=4)
  state = begun(model, small)
  params = state.params._replace(weight=0 * state.params.weight)
  score = model.predict(state._replace(params=params), small.data)
  by_item = small.data.target.by_item
  total = jax.ops.segment_sum(by_item.value, by_item.row, by_item.n_rows)
  count = jnp.bincount(by_item.value.astype(int) - 1, length=5) + 1
  prior = jnp.sum(count * jnp.arange(1, 6)) / jnp.sum(count)
  np.testing.assert_allclose(
    score(jnp.zeros(1, int), jnp.arange(50)[None])[0],
    (total + 5 * prior) / (by_item.length + 5),
    rtol=1e-5,
  )


@pytest.mark.matrix
def test_item_rbm_is_user_rbm_of_the_transpose():
  small = helpers.small()
  turned = base.Domain(small.data.target.by_item, small.data.target.by_user)
  data = small.data._replace(target=turned)
  ends = []
  for axis, its_data in (('user', small.data), ('item', data)):
    model = rbm.model(small.sizes, axis=axis, hidden=8, steps=(1,))
    ends.append(loop.fit(model, jax.random.key(0), its_data, rbm.Hyper(), epochs=2))
  for one, two in zip(*(jax.tree.leaves(end.best_of()) for end in ends)):
    np.testing.assert_array_equal(one, two)


@pytest.mark.matrix
def test_ratings_on_another_scale_train_the_same_model():
  small = helpers.small()

  def halved(rows):
    return dataclasses.replace(rows, value=rows.value / 2 - 0.5)

  halves = small.data._replace(target=base.Domain(*map(halved, small.data.target)))
  users, items = jnp.arange(60), jnp.tile(jnp.arange(50), (60, 1))
  scores = []
  for data, scale in ((small.data, {}), (halves, dict(lowest=0.0, step=0.5))):
    model = rbm.model(small.sizes, hidden=4, steps=(1,), **scale)
    end = loop.fit(model, jax.random.key(0), data, rbm.Hyper(), epochs=2)
    scores.append(model.predict(end.best_of(), data)(users, items))
  np.testing.assert_allclose(scores[0] / 2 - 0.5, scores[1], atol=1e-5)


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
  model = rbm.model(small.sizes, axis='user', hidden=4, batch=1000)
  state = begun(model, small)
  compiled = loop.epoch.lower(
    model.stages[0],
    state,
    jax.random.key(0),
    small.data,
    rbm.Hyper(),
  ).compile()
  batch_of_users_times_items = 4 * 5 * 1000 * small.sizes.target
  memory = compiled.memory_analysis().temp_size_in_bytes
  assert memory < batch_of_users_times_items / 4


@pytest.mark.matrix
@AXES
def test_a_planted_taste_is_found(axis):
  small, floor = helpers.planted()
  ours = loop.fit(
    rbm.model(small.sizes, axis=axis, hidden=32, batch=8, steps=(1,)),
    jax.random.key(0),
    small.data,
    rbm.Hyper(lr=3e-3),
    epochs=40,
    valid=small.valid,
    measure=small.measure,
  )
  assert ours.best_value < 0.95 * floor


def test_an_unknown_axis_is_answered_with_the_known_ones():
  with pytest.raises(ValueError, match="'usr'; did you mean 'user'"):
    rbm.model(helpers.small().sizes, axis='usr')
