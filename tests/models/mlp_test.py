"""MLP against the golden numbers, and what its steps are shown."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain.data import device, views
from xdomain.models import bpr, mlp
from xdomain.training import loop

GOLDEN = helpers.golden('golden_ranking')['ncf_mlp']
SHAPE = dict(embed=4, layers=(6, 3), batch=64)
LIKE = bpr.negatives_like('union')
HYPER = mlp.Hyper()
LAST = 0.1  # Adam's first moment is a tenth of the first gradient.


def fill(k, shape):
  """The parameters of the golden numbers."""
  i = np.arange(np.prod(shape, dtype=int))
  k = 3 * k + 2
  return jnp.asarray(0.9 * np.sin(0.5 + 1.3 * k + 0.7 * i).reshape(shape))


def golden_params():
  def layer(k, inputs, outputs):
    return {'kernel': fill(k, (inputs, outputs)), 'bias': fill(k + 1, outputs)}

  tower = {
    'item': fill(1, (4, 2)),
    'hidden_0': layer(2, 4, 3),
    'hidden_1': layer(4, 3, 2),
    'output': layer(6, 2, 1),
  }
  return {'user': fill(0, (3, 2)), 'tower': tower}


def logits(params, users, items):
  """`[B, K]`, by a network of the sizes that the parameters have."""
  tower = params['tower']
  widths = tuple(tower[f'hidden_{n}']['bias'].size for n in range(len(tower) - 2))
  network = mlp.MLP(len(params['user']), *tower['item'].shape, widths)
  return network.apply({'params': params}, jnp.asarray(users), jnp.asarray(items))


def golden_loss(params):
  users, items = np.array(GOLDEN['u']), np.array(GOLDEN['i'])[:, None]
  ours = logits(params, users, items)
  label = np.array(GOLDEN['y'])[:, None]
  return mlp.cross_entropy(ours, label, np.ones_like(label)), ours[:, 0]


def test_logits_and_loss_are_those_of_another_implementation():
  with jax.enable_x64(True):
    loss, ours = helpers.jitted(golden_loss)(golden_params())
  np.testing.assert_allclose(ours, GOLDEN['logits'], rtol=1e-9)
  assert float(loss) == pytest.approx(GOLDEN['loss_mean'], rel=1e-9)


def test_gradients_are_those_of_another_implementation():
  with jax.enable_x64(True):
    gradient, _ = helpers.jitted(jax.grad(golden_loss, has_aux=True))(golden_params())
  kernel = gradient['tower']['hidden_0']['kernel']
  for ours, name in ((gradient['user'], 'U'), (kernel, 'w1')):
    np.testing.assert_allclose(ours, GOLDEN[f'grad_{name}'], rtol=1e-9, atol=1e-12)


def started(data, sizes, hyper=HYPER, **settings):
  """The stage, and its first state with tables that are not tiny."""
  (stage,) = mlp.model(sizes, **SHAPE, **settings).stages
  state = helpers.jitted(stage.init)(jax.random.key(0), data, hyper, ())
  loud = helpers.copied(state.params)
  loud['user'] = jnp.asarray(50 * loud['user'])
  loud['tower']['item'] = jnp.asarray(50 * loud['tower']['item'])
  return stage, state._replace(params=loud)


def tables(params):
  return {'user': params['user'], 'item': params['tower']['item']}


@pytest.mark.matrix
def test_a_step_follows_the_loss_of_its_positives_and_their_negatives():
  small = helpers.implicit()
  rows = small.data.target.by_user
  hyper = mlp.Hyper(l2=0.05)
  stage, state = started(small.data, small.sizes, hyper, negatives=2)
  visit = helpers.jitted(stage.epoch)(jax.random.key(1), small.data)[0]
  key = jax.random.key(2)
  events = rows.events(visit)
  items, _ = helpers.jitted(mlp.candidates, static_argnums=(3, 4))(
    key, rows, events, 2, LIKE
  )

  def loss(params):
    label = jnp.array([1.0, 0.0, 0.0])
    ours = logits(params, events.row, items)
    return mlp.cross_entropy(ours, label, events.weight[:, None])

  expected, gradient = helpers.jitted(jax.value_and_grad(loss))(state.params)
  after, metrics = helpers.jitted(stage.step)(state, visit, small.data, key, hyper)
  assert float(metrics['loss']) == pytest.approx(float(expected), rel=1e-6)
  assert metrics['ratings'] == np.sum(events.weight)
  moment = after.moments.mu
  kernels = [x['tower']['hidden_0']['kernel'] for x in (moment, gradient)]
  np.testing.assert_allclose(kernels[0] / LAST, kernels[1], rtol=1e-4, atol=1e-8)
  expected = jax.tree.map(
    lambda slope, value: slope + 2 * 0.05 * value,
    tables(gradient),
    tables(state.params),
  )
  ours = jax.tree.map(lambda m: m / LAST, tables(moment))
  chex.assert_trees_all_close(ours, expected, rtol=1e-4, atol=1e-7)


def test_negatives_can_be_of_the_domain_of_the_positive():
  target = helpers.implicit().data.target.by_user
  rows = dataclasses.replace(target, border=target.n_columns // 2)
  events = rows.events(jnp.arange(64))
  like = bpr.negatives_like('same_domain')
  items, _ = helpers.jitted(mlp.candidates, static_argnums=(3, 4))(
    jax.random.key(0), rows, events, 4, like
  )
  first = np.asarray(items) < rows.border
  np.testing.assert_array_equal(first, first[:, :1] & np.ones((1, 5), bool))
  assert 0 < first.mean() < 1


def test_negatives_are_never_positives_and_come_anew():
  small = helpers.implicit()
  rows = small.data.target.by_user
  known = np.zeros((small.sizes.users, small.sizes.target), bool)
  known[rows.row, rows.column] = True
  events = rows.events(jnp.arange(rows.n_entries))
  draws = [
    np.asarray(mlp.candidates(jax.random.key(k), rows, events, 4, LIKE)[0])
    for k in range(2)
  ]
  for items in draws:
    np.testing.assert_array_equal(items[:, 0], rows.column)
    assert not np.any(known[np.asarray(rows.row)[:, None], items[:, 1:]])
  assert np.mean(draws[0][:, 1:] == draws[1][:, 1:]) < 0.1


def test_somebody_who_has_everything_has_no_negatives():
  full = [[0, i, 1] for i in range(5)] + [[1, 2, 1]]
  rows = device.domain(helpers.ratings_of(full, 2, 5)).by_user
  events = rows.events(jnp.arange(6))
  _, there = helpers.jitted(mlp.candidates, static_argnums=(3, 4))(
    jax.random.key(0), rows, events, 3, LIKE
  )
  assert np.all(there[:, 0])
  assert np.asarray(there[:, 1:]).any(axis=1).tolist() == [False] * 5 + [True]


@pytest.mark.matrix
def test_padding_changes_nothing():
  small = helpers.implicit()
  rows = small.data.target.by_user
  _, state = started(small.data, small.sizes)
  ids = jnp.arange(10)
  events = rows.events(jnp.append(ids, jnp.array([rows.n_entries] * 5)))
  items = jax.random.randint(jax.random.key(0), (15, 3), 0, small.sizes.target)

  def loss(n):
    return mlp.cross_entropy(
      logits(state.params, events.row[:n], items[:n]),
      jnp.arange(3) == 0,
      events.weight[:n, None],
    )

  assert float(loss(10)) == pytest.approx(float(loss(15)), rel=1e-6)


def fresh():
  network = mlp.MLP(900, 800, 32, (32, 16, 8))
  first = jnp.zeros(1, int)
  return network.init(jax.random.key(0), first, first[:, None])['params']


@pytest.mark.matrix
def test_a_fresh_network_is_drawn_as_the_authors_draw_it():
  params = fresh()
  tower = params['tower']
  layers = [tower[name] for name in ('hidden_0', 'hidden_1', 'hidden_2', 'output')]
  shapes = [layer['kernel'].shape for layer in layers]
  assert shapes == [(64, 32), (32, 16), (16, 8), (8, 1)]
  for table in tables(params).values():
    np.testing.assert_allclose(np.std(table), 0.01, rtol=0.02)
  for layer, (inputs, outputs) in zip(layers[:3], shapes):
    bound = np.sqrt(6 / (inputs + outputs))
    assert 0.9 * bound < np.max(np.abs(layer['kernel'])) <= bound
  bound = np.sqrt(3 / 8)
  assert 0.5 * bound < np.max(np.abs(layers[3]['kernel'])) <= bound
  for layer in layers:
    np.testing.assert_array_equal(layer['bias'], 0)


def test_parameters_are_counted_as_in_the_paper():
  # The tower 32 -> 16 -> 8 on two embeddings of 32, then one output.
  layers = (64 * 32 + 32) + (32 * 16 + 16) + (16 * 8 + 8) + (8 + 1)
  assert helpers.count(fresh()) == (900 + 800) * 32 + layers


@pytest.mark.matrix
def test_both_ways_to_multiply_a_table_agree():
  small = helpers.implicit()
  _, state = started(small.data, small.sizes)
  users = jnp.arange(small.sizes.users)
  items = jnp.broadcast_to(
    jnp.arange(small.sizes.target), (users.size, small.sizes.target)
  )
  all_at_once = logits(state.params, users, items)
  one = logits(state.params, users[5:6], items[5:6, 7:9])
  np.testing.assert_allclose(all_at_once[5:6, 7:9], one, atol=1e-5)


@pytest.mark.matrix
def test_all_scores_are_the_scores_of_all_items():
  small = helpers.implicit()
  model = mlp.model(small.sizes, **SHAPE)
  _, state = started(small.data, small.sizes)
  users = jnp.array([3, 0, 59, 3, 17])
  everything = jax.jit(model.predict_all(state, small.data))(users)
  items = jnp.broadcast_to(jnp.arange(small.sizes.target), everything.shape)
  score = helpers.scorer(model.predict)(state, small.data)
  np.testing.assert_allclose(score(users, items), everything, atol=1e-5)
  ours = logits(state.params, users, items)
  np.testing.assert_allclose(ours, everything, atol=1e-5)


@pytest.mark.matrix
def test_a_planted_taste_is_found():
  small, floor = helpers.planted_implicit()
  model = mlp.model(small.sizes, embed=16, layers=(16, 8), batch=128)
  values = [
    loop.fit(
      model,
      jax.random.key(seed),
      small.data,
      mlp.Hyper(lr=1e-2),
      epochs=15,
      valid=small.valid,
      measure=small.measure,
    ).best_value
    for seed in range(3)  # One seed in six is below the bound.
  ]
  assert 1 - np.mean(values) > 1.1 * (1 - floor)


@pytest.mark.matrix
def test_merged_it_tells_people_apart_who_are_new_to_the_target():
  pair = helpers.implicit().split.train
  keep = pair.target.user >= 5
  merged = views.joint(pair._replace(target=views.take(pair.target, keep)))
  sizes, data = device.sizes(merged), device.put(merged)
  model = mlp.model(sizes, embed=16, layers=(32, 16), batch=64)
  hyper = mlp.Hyper(lr=1e-2)
  fresh = helpers.jitted(model.stages[0].init)(jax.random.key(0), data, hyper, ())
  trained = loop.fit(model, jax.random.key(0), data, hyper, epochs=20).best_of()
  spreads = []
  for state in (fresh, trained):
    new = helpers.scorer(model.predict_all)(state, data)(jnp.arange(5))[
      :, : pair.target.n_items
    ]
    taste = new - np.mean(new, axis=1, keepdims=True)
    spreads.append(np.mean(np.std(taste, axis=0)))
  assert spreads[1] > max(0.1, 20 * spreads[0])
