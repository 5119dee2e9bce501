"""CF-NADE against the golden numbers, and its orders by enumeration."""

import dataclasses
import functools
import itertools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import base
from xdomain.models import cf_nade
from xdomain.ops import levels, sparse
from xdomain.training import loop

AXES = pytest.mark.parametrize('axis', ['user', 'item'])
SCALE = levels.Scale()
COLUMNS = (3, 0, 1)  # Those of user 0, in the order of the golden numbers.
COSTS = {'regular': (1.0, 0.0), 'ordinal': (0.0, 1.0), 'hybrid_Q': (0.4, 0.6)}


def golden():
  return helpers.golden('golden_rating')['CF-NADE-S']


NETWORK = cf_nade.CFNADE(columns=6, levels=5, width=3)


def golden_params():
  """The parameters that the golden numbers were computed with."""
  wave = helpers.wave
  tree = {
    'encoder': {'table': wave((6, 5, 3), 71, scale=0.4), 'bias': wave((3,), 72)},
    'decoder': {'table': wave((6, 5, 3), 73, scale=0.4), 'bias': wave((6, 5), 74)},
  }
  return jax.tree.map(jnp.asarray, tree)


def with_q(params):
  """The golden Q adds rating times Q: the same as Q added to every level."""
  q = jnp.asarray(helpers.wave((6, 3), 75, scale=0.2))
  params['encoder']['table'] += q[:, None, :]
  return params


def first_user(padding=0):
  """The entries of user 0, and more slots."""
  _, data, _ = helpers.golden_arrays()
  rows = data.target.by_user
  return sparse.flatten_rows(
    rows.start, rows.column, rows.value, jnp.array([0]), 3 + padding
  )


@functools.partial(jax.jit, static_argnames=('kind', 'd', 'order', 'padding'))
def golden_loss(params, kind, d, order=COLUMNS, padding=0):
  """The cost of user 0 where the first `d` columns of an order are given."""
  entries = first_user(padding)
  given = entries.weight * jnp.isin(entries.column, jnp.array(order[:d], int))
  drawn = cf_nade.Drawn(given, (entries.weight - given) * 3 / (3 - d))
  hyper = cf_nade.Hyper(regular=COSTS[kind][0], ordinal=COSTS[kind][1])
  level = SCALE.level(entries.value)
  scores = NETWORK.apply({'params': params}, entries, level, given, 1)
  return cf_nade.cost(scores, level, drawn, hyper)


@pytest.mark.parametrize('kind', COSTS)
@pytest.mark.parametrize('d', [0, 1, 2])
@pytest.mark.parametrize('padding', [0, 5])
def test_losses_are_those_of_another_implementation(kind, d, padding):
  with jax.enable_x64(True):
    params = golden_params()
    params = with_q(params) if kind == 'hybrid_Q' else params
    loss = golden_loss(params, kind, d, padding=padding)
  np.testing.assert_allclose(loss, golden()[f'loss/{kind}/d={d}'], rtol=1e-9)


@pytest.mark.parametrize('kind', COSTS)
@pytest.mark.parametrize('padding', [0, 5])
def test_every_gradient_is_that_of_another_implementation(kind, padding):
  with jax.enable_x64(True):
    params = golden_params()
    params = with_q(params) if kind == 'hybrid_Q' else params
    gradients = jax.grad(golden_loss)(params, kind, 1, padding=padding)
  encoder, decoder = gradients['encoder'], gradients['decoder']
  ours = {'W': encoder['table'], 'c': encoder['bias']}
  ours |= {'V': decoder['table'], 'b': decoder['bias']}
  if kind == 'hybrid_Q':
    ours['Q'] = np.asarray(encoder['table']).sum(axis=1)
  for name, gradient in ours.items():
    expected = golden()[f'grad/{kind}/d=1/{name}']
    np.testing.assert_allclose(gradient, expected, atol=1e-9)


@pytest.mark.matrix
def test_the_mean_over_orders_is_that_of_another_implementation():
  with jax.enable_x64(True):
    losses = [
      golden_loss(golden_params(), 'regular', d, order)
      for order in itertools.permutations(COLUMNS)
      for d in range(3)
    ]
  expected = golden()['mean_over_orders_and_d']
  np.testing.assert_allclose(np.mean(losses), expected, rtol=1e-9)


def test_predictions_are_those_of_another_implementation():
  with jax.enable_x64(True):
    sizes, data, queries = helpers.golden_arrays()
    model = cf_nade.model(sizes, axis='user', hidden=3)
    state = cf_nade.Averaged(golden_params(), ())
    raw = helpers.scorer(model.predict)(state, data)(queries.user, queries.item)[:, 0]
  np.testing.assert_allclose(raw, golden()['pred_test'], rtol=1e-9)


@pytest.mark.matrix
def test_biases_begin_as_those_of_another_implementation():
  _, data, _ = helpers.golden_arrays()
  params = cf_nade.start(jax.random.key(0), NETWORK, data.target.by_user, SCALE)
  expected = golden()['bias_init_smoothed(a=5)']
  np.testing.assert_allclose(params['decoder']['bias'], expected, atol=1e-6)


def chain_by_choices(scores, chain):
  """Minus the log-probability that a chain's levels are chosen in order."""
  strength = [math.exp(scores[level]) for level in chain]
  return -sum(math.log(strength[i] / sum(strength[i:])) for i in range(len(chain)))


def test_the_ordinal_cost_is_that_of_two_chains_of_choices():
  scores = np.random.default_rng(0).normal(size=(5, 5))
  expected = [
    chain_by_choices(row, range(level, -1, -1)) + chain_by_choices(row, range(level, 5))
    for level, row in enumerate(scores)
  ]
  got = cf_nade.ordinal(jnp.asarray(scores), jnp.arange(5))
  np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_costs_of_extreme_scores_are_finite():
  scores = jnp.array([[1e4, -1e4, 0.0, 0.0, -1e4]] * 5)
  for cost in (cf_nade.regular, cf_nade.ordinal):
    total = jax.jit(lambda scores, cost=cost: jnp.sum(cost(scores, jnp.arange(5))))
    chex.assert_tree_all_finite(jax.value_and_grad(total)(scores))


def test_every_number_of_given_columns_and_every_choice_is_as_likely():
  entries = first_user(padding=4)
  keys = jax.random.split(jax.random.key(0), 9000)
  draw = jax.jit(jax.vmap(lambda key: cf_nade.draw(key, entries, 1)))
  given, asked = jax.device_get(draw(keys))
  assert not np.any(given[:, 3:]) and not np.any(asked[:, 3:])
  codes = (given[:, :3] @ np.array([1.0, 2.0, 4.0])).astype(int)
  counts = np.bincount(codes, minlength=8) / len(codes)
  # Nothing is given in a third of all visits, each one or two in a ninth.
  expected = np.array([3, 1, 1, 1, 1, 1, 1, 0]) / 9
  np.testing.assert_allclose(counts, expected, atol=0.02)
  d = np.sum(given[:, :3], axis=1, keepdims=True)
  np.testing.assert_allclose(asked[:, :3], (1 - given[:, :3]) * 3 / (3 - d), rtol=1e-6)


@pytest.mark.matrix
@AXES
def test_the_rows_of_a_batch_are_drawn_for_each_on_its_own(axis):
  rows = helpers.small().data.target.along(axis)
  (visit, *_) = rows.batches(jax.random.key(0), 16)
  entries = rows.entries(visit)
  drawn = cf_nade.draw(jax.random.key(1), entries, 16)
  assert np.all((drawn.given > 0) + (drawn.weight > 0) == entries.weight)
  total = np.bincount(entries.segment, entries.weight, 16)
  given = np.bincount(entries.segment, drawn.given, 16)
  np.testing.assert_allclose(
    np.bincount(entries.segment, drawn.weight, 16), total, rtol=1e-5
  )
  assert len(set(given)) > 4
  assert np.all(given[total > 0] < total[total > 0])


def begun(model, small, hyper):
  return helpers.jitted(model.stages[0].init)(jax.random.key(0), small.data, hyper, ())


def steps(model, small, hyper, count=3):
  """The states of the first steps."""
  (stage,) = model.stages
  state = begun(model, small, hyper)
  visits = helpers.jitted(stage.epoch)(jax.random.key(0), small.data)
  step = helpers.jitted(stage.step)
  for number in range(count):
    key = jax.random.key(number)
    state, _ = step(state, visits[number], small.data, key, hyper)
    yield state


@pytest.mark.matrix
def test_the_average_predicts_and_not_the_latest():
  small = helpers.small()
  model = cf_nade.model(small.sizes, hidden=4, batch=8)
  hyper = cf_nade.Hyper(lr=0.1, polyak=0.75)
  average = np.asarray(begun(model, small, hyper).params['decoder']['table'])
  for state in steps(model, small, hyper):
    latest = np.asarray(state.latest.params['decoder']['table'])
    average = 0.75 * average + 0.25 * latest
    np.testing.assert_allclose(state.params['decoder']['table'], average, atol=1e-6)
  kept = model.stages[0].keep(state)
  users, items = jnp.arange(3), jnp.tile(jnp.arange(5), (3, 1))
  np.testing.assert_array_equal(
    helpers.scorer(model.predict)(kept, small.data)(users, items),
    helpers.scorer(model.predict)(state, small.data)(users, items),
  )
  tables = [each['decoder']['table'] for each in (state.params, state.latest.params)]
  assert np.any(tables[0] != tables[1])


@pytest.mark.matrix
def test_decay_pulls_the_weights_and_not_the_biases():
  small = helpers.small()
  model = cf_nade.model(small.sizes, hidden=4, batch=8)
  # Without any cost, decay is all there is.
  hyper = cf_nade.Hyper(lr=0.0, decay=3.0, regular=0.0, ordinal=0.0)
  state = next(steps(model, small, hyper))
  slope = jax.tree.map(lambda m: m / 0.1, state.latest.moments.mu)
  for name, layer in slope.items():
    table = state.params[name]['table']
    np.testing.assert_allclose(layer['table'], 6 * table, rtol=1e-4)
    assert not np.any(layer['bias'])


@pytest.mark.matrix
def test_item_cf_nade_is_user_cf_nade_of_the_transpose():
  small = helpers.small()
  turned = base.Domain(small.data.target.by_item, small.data.target.by_user)
  data = small.data._replace(target=turned)
  users, _, target = small.sizes
  sizes = small.sizes._replace(users=target, target=users)
  ends = []
  for axis, *pair in (('user', small.sizes, small.data), ('item', sizes, data)):
    model = cf_nade.model(pair[0], axis=axis, hidden=8)
    hyper = cf_nade.Hyper()
    ends.append(loop.fit(model, jax.random.key(0), pair[1], hyper, epochs=2))
  chex.assert_trees_all_equal(*(end.best_of() for end in ends))


def test_parameters_are_counted_as_in_the_paper():
  # W and V hold a vector of H for each column and level, b a number, c one of H.
  small = helpers.small()
  model = cf_nade.model(small.sizes, axis='user', hidden=7)
  params = begun(model, small, cf_nade.Hyper()).params
  assert helpers.count(params) == small.sizes.target * 5 * (2 * 7 + 1) + 7


@pytest.mark.matrix
def test_ratings_on_another_scale_train_the_same_model():
  small = helpers.small()

  def halved(rows):
    return dataclasses.replace(rows, value=rows.value / 2 - 0.5)

  halves = small.data._replace(target=base.Domain(*map(halved, small.data.target)))
  users, items = jnp.arange(60), jnp.tile(jnp.arange(50), (60, 1))
  scores = []
  for data, scale in ((small.data, {}), (halves, dict(lowest=0.0, step=0.5))):
    model = cf_nade.model(small.sizes, hidden=4, **scale)
    end = loop.fit(model, jax.random.key(0), data, cf_nade.Hyper(), epochs=2)
    scores.append(model.predict(end.best_of(), data)(users, items))
  np.testing.assert_allclose(scores[0] / 2 - 0.5, scores[1], atol=1e-5)


@pytest.mark.matrix
def test_a_column_without_ratings_predicts_the_level_of_all():
  small = helpers.small()
  rows = small.data.target.by_user
  network = cf_nade.CFNADE(rows.n_columns, 5, 4)
  params = cf_nade.start(jax.random.key(0), network, rows, levels.Scale())
  log = levels.smoothed_log_frequencies(
    rows.column, SCALE.level(rows.value), (rows.n_columns + 1, 5)
  )
  mean = SCALE.expected(log[-1])
  assert abs(mean - rows.mean()) < 0.02
  chex.assert_shape(params['decoder']['bias'], (rows.n_columns, 5))


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
  model = cf_nade.model(small.sizes, axis='user', hidden=4, batch=1000)
  hyper = cf_nade.Hyper()
  (stage,) = model.stages
  state = begun(model, small, hyper)
  compiled = loop.epoch.lower(
    stage, state, jax.random.key(0), small.data, hyper
  ).compile()
  batch_of_users_times_items = 4 * 5 * 1000 * small.sizes.target
  memory = compiled.memory_analysis().temp_size_in_bytes
  assert memory < batch_of_users_times_items / 4


@pytest.mark.matrix
@AXES
def test_a_planted_taste_is_found(axis):
  small, floor = helpers.planted()
  hyper = cf_nade.Hyper(lr=3e-3, decay=0.01, polyak=0.9)
  ours = loop.fit(
    cf_nade.model(small.sizes, axis=axis, hidden=32, batch=8),
    jax.random.key(0),
    small.data,
    hyper,
    epochs=30,
    valid=small.valid,
    measure=small.measure,
  )
  assert ours.best_value < 0.95 * floor


def test_an_unknown_axis_is_answered_with_the_known_ones():
  with pytest.raises(ValueError, match="'usr'; did you mean 'user'"):
    cf_nade.model(helpers.small().sizes, axis='usr')
