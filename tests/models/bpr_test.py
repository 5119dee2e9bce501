"""BPR against the golden numbers, and what its steps draw and touch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import base
from xdomain.data import device
from xdomain.models import bpr
from xdomain.training import loop

GOLDEN = helpers.golden('golden_ranking')['bpr']


def golden_params():
  items = bpr.Items(jnp.asarray(GOLDEN['V']), jnp.asarray(GOLDEN['item_bias']))
  return bpr.Params(jnp.asarray(GOLDEN['U']), items)


def golden_triples(n):
  user, positive, negative = np.array(GOLDEN['triples'][:n]).T
  return bpr.Triples(user, positive, negative, np.ones(n))


def one_step(params, triples, lr=1.0):
  user, item, negative = GOLDEN['reg']
  hyper = bpr.Hyper(lr, user, item, negative, 0.0)
  return helpers.jitted(bpr.step)(params, triples, None, None, hyper)


def toy(held):
  """`Rows` of who likes which of 12 items."""
  events = [[u, i, 1] for u, items in enumerate(held) for i in items]
  return device.domain(helpers.ratings_of(events, len(held), 12)).by_user


def test_the_loss_is_that_of_another_implementation():
  with jax.enable_x64(True):
    _, metrics = one_step(golden_params(), golden_triples(3))
  expected = GOLDEN['loss_mean_no_reg']
  assert float(metrics['loss']) == pytest.approx(expected, rel=1e-12)
  assert float(metrics['ratings']) == 3


def test_every_gradient_is_that_of_another_implementation():
  with jax.enable_x64(True):
    before = golden_params()
    after, _ = one_step(before, golden_triples(3))
    gradient = jax.tree.map(jnp.subtract, before, after)
  np.testing.assert_allclose(gradient.user, GOLDEN['grad_U'], atol=1e-12)
  np.testing.assert_allclose(gradient.item.vector, GOLDEN['grad_V'], atol=1e-12)
  np.testing.assert_allclose(gradient.item.bias, GOLDEN['grad_b'], atol=1e-12)


def test_one_step_of_descent_is_that_of_another_implementation():
  expected = GOLDEN['sgd_step_first_triple']
  with jax.enable_x64(True):
    after, _ = one_step(golden_params(), golden_triples(1), expected['lr'])
  np.testing.assert_allclose(after.user, expected['U'], atol=1e-12)
  np.testing.assert_allclose(after.item.vector, expected['V'], atol=1e-12)
  np.testing.assert_allclose(after.item.bias, expected['b'], atol=1e-12)


def test_biases_pay_for_being_used():
  params, triples = golden_params(), golden_triples(1)
  free, paying = (
    helpers.jitted(bpr.step)(
      params, triples, None, None, bpr.Hyper(lr=1.0, penalty_bias=b)
    )[0]
    for b in (0.0, 0.5)
  )
  used = np.isin(np.arange(4), GOLDEN['triples'][0][1:])
  paid = free.item.bias - paying.item.bias
  np.testing.assert_allclose(paid, 0.5 * used * params.item.bias, atol=1e-6)


def random_params(users=40, items=50, factors=6):
  shapes = (users, factors), (items, factors), (items,)
  keys = jax.random.split(jax.random.key(0), 3)
  user, *item = (jax.random.normal(k, s) for k, s in zip(keys, shapes))
  return bpr.Params(user, bpr.Items(*item))


def test_a_batch_equals_its_triples_one_by_one_where_they_share_no_row():
  params, hyper = random_params(), bpr.Hyper(lr=0.3, penalty_bias=0.1)
  ids = jnp.arange(20)
  batch = bpr.Triples(ids, ids, ids + 25, jnp.ones(20))
  at_once, _ = helpers.jitted(bpr.step)(params, batch, None, None, hyper)
  one_by_one, _ = jax.lax.scan(
    lambda state, triple: bpr.step(state, triple, None, None, hyper),
    params,
    jax.tree.map(lambda x: x[:, None], batch),
  )
  for one, two in zip(jax.tree.leaves(at_once), jax.tree.leaves(one_by_one)):
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_triples_that_share_rows_add_up():
  params, hyper = random_params(), bpr.Hyper(lr=0.3)
  once, thrice = (
    bpr.Triples(*(jnp.full(n, i) for i in (3, 4, 5)), jnp.ones(n)) for n in (1, 3)
  )
  moved, moved_more = (
    jax.tree.map(
      jnp.subtract, helpers.jitted(bpr.step)(params, t, None, None, hyper)[0], params
    )
    for t in (once, thrice)
  )
  for one, two in zip(jax.tree.leaves(moved), jax.tree.leaves(moved_more)):
    np.testing.assert_allclose(3 * one, two, atol=1e-5)


@pytest.mark.matrix
def test_a_step_touches_the_rows_of_its_batch_alone():
  small = helpers.implicit()
  (stage,) = bpr.model(small.sizes, factors=8, batch=16).stages
  hyper = bpr.Hyper(*[0.5] * 5)
  before = helpers.jitted(stage.init)(jax.random.key(0), small.data, hyper, ())
  visits = helpers.jitted(stage.epoch)(jax.random.key(1), small.data)
  visit = jax.tree.map(lambda x: x[0], visits)
  after, _ = helpers.jitted(stage.step)(before, visit, small.data, None, hyper)
  items = np.union1d(visit.positive, visit.negative)
  for old, new, rows in (
    (before.user, after.user, np.unique(visit.user)),
    (before.item.vector, after.item.vector, items),
    (before.item.bias[:, None], after.item.bias[:, None], items),
  ):
    moved = np.flatnonzero(np.any(np.asarray(old != new), axis=1))
    np.testing.assert_array_equal(moved, rows)


def triples(rows, batch, negatives_from='union'):
  like = bpr.negatives_like(negatives_from)
  return helpers.jitted(bpr.triples, static_argnums=(2, 3))(
    jax.random.key(0), rows, batch, like
  )


def test_positives_are_positives_and_negatives_never():
  held = [[0, 3, 4, 11], [2], [], [*range(6), *range(7, 12)]]
  drawn = triples(toy(held), 500)
  for user, positive, negative in zip(*map(np.ravel, drawn[:3])):
    assert positive in held[user] and negative not in held[user]
  assert np.all(drawn.weight == 1)


def test_positives_are_uniform_and_negatives_over_what_is_left():
  held = [[0, 3, 4, 11], [2], [], [*range(10)]]
  drawn = triples(toy(held), 30000)
  cells = np.ravel_multi_index((drawn.user, drawn.positive), (4, 12))
  _, counts = np.unique(cells, return_counts=True)
  assert counts.size == 15
  assert np.sum((counts - 2000) ** 2) / 2000 < 45  # Chi-square, 14 degrees.
  counts = np.bincount(drawn.negative[drawn.user == 0], minlength=12)
  expected = counts.sum() / 8
  counts = counts[np.setdiff1d(np.arange(12), held[0])]
  assert np.sum((counts - expected) ** 2) / expected < 30  # 7 degrees.


def test_negatives_can_be_of_the_domain_of_the_positive():
  held = [[0, 9, 11], [2], [8, 9, 10, 11], []]
  rows = dataclasses.replace(toy(held), border=8)
  drawn = triples(rows, 30000, 'same_domain')
  there = drawn.weight > 0
  np.testing.assert_array_equal(there, drawn.user != 2)  # They have it all.
  np.testing.assert_array_equal(
    (drawn.positive < 8)[there], (drawn.negative < 8)[there]
  )
  mine = (drawn.user == 0) & (drawn.positive >= 8)
  assert set(np.asarray(drawn.negative[mine])) == {8, 10}
  everywhere = triples(rows, 30000)
  assert set(np.asarray(everywhere.negative[everywhere.user == 1])) == {*range(12)} - {
    2
  }


def test_an_unknown_choice_of_negatives_is_answered_with_a_near_one():
  with pytest.raises(ValueError, match="did you mean 'same_domain'"):
    bpr.model(base.Sizes(2, 3, 4), negatives_from='same_domian')


def test_an_epoch_has_as_many_triples_as_there_are_positives():
  rows = helpers.implicit().data.target.by_user
  drawn = triples(rows, 64)
  assert 0 <= drawn.user.size - rows.n_entries < 64


@pytest.mark.matrix
def test_somebody_who_likes_everything_teaches_nothing():
  rows = toy([[*range(12)], [1]])
  drawn = triples(rows, 500)
  np.testing.assert_array_equal(drawn.weight, drawn.user == 1)
  params = random_params(users=2, items=12)
  all_of_them = jax.tree.map(lambda x: x[0], drawn)
  only = jax.tree.map(lambda x: x[0][drawn.user[0] == 1], drawn)
  hyper = bpr.Hyper(*[0.01] * 5)
  after, metrics = helpers.jitted(bpr.step)(params, all_of_them, None, None, hyper)
  expected, same = helpers.jitted(bpr.step)(params, only, None, None, hyper)
  np.testing.assert_array_equal(after.user[0], params.user[0])
  np.testing.assert_allclose(after.item.vector, expected.item.vector, rtol=1e-4)
  assert metrics['loss'] == pytest.approx(float(same['loss']), rel=1e-4)


def test_people_without_positives_are_ranked_by_the_items_biases():
  params = helpers.jitted(bpr.init_params, static_argnums=(2, 3))(
    jax.random.key(0), toy([[0, 3], []]), 4, 'item'
  )
  bias = jnp.arange(12.0)
  params = params._replace(item=params.item._replace(bias=bias))
  scores = helpers.scorer(bpr.predict_all)(params, None)(jnp.arange(2))
  np.testing.assert_array_equal(scores[1], bias)
  assert np.any(scores[0] != bias)


@pytest.mark.matrix
@pytest.mark.parametrize('bias', bpr.BIASES)
def test_all_scores_are_the_scores_of_all_items(bias):
  small = helpers.implicit()
  model = bpr.model(small.sizes, factors=8, bias=bias, batch=64)
  params = loop.fit(
    model, jax.random.key(0), small.data, bpr.Hyper(), epochs=2
  ).best_of()
  assert (params.item.bias is None) == (bias == 'none')
  users = jnp.arange(small.sizes.users)
  items = jnp.tile(jnp.arange(small.sizes.target), (users.size, 1))
  np.testing.assert_allclose(
    helpers.scorer(model.predict)(params, small.data)(users, items),
    helpers.scorer(model.predict_all)(params, small.data)(users),
    atol=1e-5,
  )


@pytest.mark.matrix
def test_a_planted_taste_is_found():
  small = helpers.implicit()
  model = bpr.model(small.sizes, factors=16, batch=64)
  ours = loop.fit(
    model,
    jax.random.key(0),
    small.data,
    bpr.Hyper(),
    epochs=30,
    valid=small.valid,
    measure=small.measure,
  )
  popularity = small.data.target.by_item.length
  floor, _ = small.measure(
    lambda users, items: popularity[items].astype(float),
    small.data,
    small.valid.target,
  )
  assert 1 - ours.best_value > 1.1 * (1 - floor)


@pytest.mark.matrix
def test_an_epoch_costs_positives_and_not_users_times_items():
  small = helpers.small(
    0,
    users=3000,
    source=50,
    target=4000,
    source_ratings=3000,
    target_ratings=6000,
  )
  (stage,) = bpr.model(small.sizes, factors=4).stages
  hyper = jax.tree.map(jnp.asarray, bpr.Hyper())
  state = helpers.jitted(stage.init)(jax.random.key(0), small.data, hyper, ())
  compiled = loop.epoch.lower(
    stage, state, jax.random.key(0), small.data, hyper
  ).compile()
  memory = compiled.memory_analysis().temp_size_in_bytes
  assert memory < small.sizes.users * small.sizes.target / 8  # A bitmap's.


def test_an_unknown_bias_is_answered_with_the_known_ones():
  with pytest.raises(ValueError, match="'user'; it takes item, none"):
    bpr.model(base.Sizes(3, 4, 5), bias='user')
