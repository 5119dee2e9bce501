"""CoNet against the golden numbers, its schedule, and what it is asked."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import base
from xdomain.data import device, types, views
from xdomain.models import conet
from xdomain.training import loop

GOLDEN = helpers.golden('golden_ranking')['conet']
SHAPE = dict(embed=4, layers=(6, 3), cross_layers=1, batch=32)
HYPER = conet.Hyper()
LAST = 0.1  # Adam's first moment is a tenth of the first gradient.


def fill(k, *shape):
  """The parameters of the golden numbers."""
  i = np.arange(np.prod(shape, dtype=int))
  wave = np.sin(0.5 + 1.3 * (3 * k + 2) + 0.7 * i)
  return jnp.asarray(0.9 * wave.reshape(shape))


NETWORK = conet.CoNet(base.Sizes(3, 5, 4), 2, (3, 2), 1)


def golden_params():
  def layer(k, *shape):
    return {'kernel': fill(k, *shape), 'bias': fill(k + 1, shape[1])}

  def tower(items, table, k):
    return {
      'item': fill(table, items, 2),
      'hidden_0': layer(k, 4, 3),
      'hidden_1': layer(k + 2, 3, 2),
      'output': layer(k + 4, 2, 2),
    }

  return {
    'user': fill(0, 3, 2),
    'source': tower(5, 2, 9),
    'target': tower(4, 1, 3),
    'cross_0': {'kernel': fill(15, 4, 3)},
  }


def golden_examples():
  batch = {name: np.array(ids) for name, ids in GOLDEN['batch'].items()}

  def of(user, item, label):
    weight = jnp.ones(len(batch[user]))
    item, label = batch[item][:, None], batch[label][:, None] == 1
    return conet.Examples(batch[user], item, label, weight)

  return types.PerDomain(of('uS', 'jS', 'yS'), of('uT', 'iT', 'yT'))


def golden_loss(params, l1=0.0):
  errors, lasso = conet.errors_jointly(NETWORK, params, golden_examples())
  return errors.source + errors.target + l1 * lasso


def test_logits_of_both_towers_are_those_of_another_implementation():
  with jax.enable_x64(True):
    outputs = helpers.jitted(conet.outputs, static_argnums=0)(
      NETWORK, golden_params(), golden_examples()
    )
  for ours, name in zip(outputs, ('logits_S', 'logits_T')):
    np.testing.assert_allclose(ours[:, 0], GOLDEN[name], rtol=1e-9)


@pytest.mark.parametrize(
  ('l1', 'name'), [(0.0, 'loss_mean'), (0.1, 'scone_loss_mean_lasso_0_1')]
)
def test_losses_are_those_of_another_implementation(l1, name):
  with jax.enable_x64(True):
    loss = float(helpers.jitted(golden_loss)(golden_params(), l1))
  assert loss == pytest.approx(GOLDEN[name], rel=1e-9)


def test_towers_alone_are_those_of_another_implementation():
  with jax.enable_x64(True):
    params, shown = golden_params(), golden_examples()
    each = [
      getattr(conet.errors_alone(NETWORK, domain, params, shown)[0], domain)
      for domain in types.PerDomain._fields
    ]
    examples = jnp.asarray(shown.target.user), jnp.asarray(shown.target.item)
    ours = helpers.jitted(conet.logits_alone, static_argnums=(0, 1))(
      NETWORK, 'target', params, *examples
    )[:, 0]
  loss = float(each[0]) + float(each[1])
  assert loss == pytest.approx(GOLDEN['base_path_loss_mean'], rel=1e-9)
  theirs = np.array(GOLDEN['base_path_logits_T'])
  np.testing.assert_allclose(ours, theirs[:, 0] - theirs[:, 1], rtol=1e-9)


def test_gradients_are_those_of_another_implementation():
  with jax.enable_x64(True):
    gradient = helpers.jitted(jax.grad(golden_loss))(golden_params())
  for ours, name in ((gradient['cross_0']['kernel'], 'H1'), (gradient['user'], 'U')):
    np.testing.assert_allclose(ours, GOLDEN[f'grad_{name}'], rtol=1e-9, atol=1e-12)


def loud(params):
  """Parameters large enough that no unit is silent for all."""
  return jax.tree.map(lambda x: 40 * x, params)


def started(small, hyper=HYPER, **settings):
  """The stage, and a state with loud parameters."""
  (stage,) = conet.model(small.sizes, **SHAPE | settings).stages
  state = helpers.jitted(stage.init)(jax.random.key(0), small.data, hyper, ())
  return stage, state._replace(params=loud(state.params))


def moments(state):
  """Adam's first, after the clipping of gradients."""
  return state.moments[1].mu


def swapped(small):
  """The same pair with the domains exchanged."""
  users, source, target = small.sizes
  return small._replace(
    data=small.data.mirrored(), sizes=base.Sizes(users, target, source)
  )


@pytest.mark.matrix
@pytest.mark.parametrize('exchanged', [False, True])
def test_an_epoch_is_the_surplus_of_the_larger_domain_then_joint(exchanged):
  small = helpers.implicit()
  small = swapped(small) if exchanged else small
  stage, _ = started(small)
  visits = helpers.jitted(stage.epoch)(jax.random.key(0), small.data)
  joint, batches = [], []
  for ids, domain in zip(visits, (small.data.source, small.data.target)):
    n = domain.by_user.n_entries
    seen = np.bincount(np.ravel(ids), minlength=n + 1)
    np.testing.assert_array_equal(seen[:n], 1)
    joint.append(np.any(ids < n, axis=1))
    batches.append(-(-n // SHAPE['batch']))
  assert min(batches) < max(batches) == joint[0].size
  np.testing.assert_array_equal(
    joint[0] & joint[1], np.arange(max(batches)) >= np.ptp(batches)
  )


@pytest.mark.matrix
@pytest.mark.parametrize('exchanged', [False, True])
def test_a_surplus_batch_trains_one_tower_as_if_there_were_no_other(exchanged):
  small = helpers.implicit()
  small = swapped(small) if exchanged else small
  larger = conet.by_size(
    types.PerDomain(small.data.source.by_user, small.data.target.by_user),
    'independent',
  )[0]
  hyper = conet.Hyper(l1=0.3)
  stage, state = started(small, hyper)
  visit = jax.tree.map(
    lambda x: x[0], helpers.jitted(stage.epoch)(jax.random.key(0), small.data)
  )
  key = jax.random.key(1)
  after, metrics = helpers.jitted(stage.step)(state, visit, small.data, key, hyper)
  gradient = moments(after)
  assert np.any(gradient.pop('user'))
  assert np.any(gradient.pop(larger)['item'])
  for leaf in jax.tree.leaves(gradient):  # Of the other tower and between them.
    np.testing.assert_array_equal(leaf, 0)
  assert metrics['loss'] == metrics[larger] > 0


@pytest.mark.matrix
@pytest.mark.parametrize('l1', [0.0, 0.1])
def test_a_joint_batch_pays_for_both_domains_and_for_its_cross_matrices(l1):
  small = helpers.implicit()
  hyper = conet.Hyper(source=0.5, l1=l1)
  stage, state = started(small, hyper)
  visit = jax.tree.map(
    lambda x: x[-1], helpers.jitted(stage.epoch)(jax.random.key(0), small.data)
  )
  after, metrics = helpers.jitted(stage.step)(
    state, visit, small.data, jax.random.key(1), hyper
  )
  h = state.params['cross_0']['kernel']
  expected = metrics['target'] + 0.5 * metrics['source']
  expected += l1 * np.sum(np.abs(h))
  assert float(metrics['loss']) == pytest.approx(float(expected), rel=1e-6)
  assert np.any(moments(after)['cross_0']['kernel'])


def test_somebody_who_has_everything_is_not_shown():
  full = [[0, i, 1] for i in range(5)] + [[1, 2, 1]]
  rows = device.domain(helpers.ratings_of(full, 2, 5)).by_user
  shown = helpers.jitted(conet.examples)(jax.random.key(0), rows, jnp.arange(6))
  assert shown.weight.tolist() == [0] * 5 + [1]


def test_one_negative_is_shown_with_each_positive_in_either_order():
  small = helpers.implicit()
  rows = small.data.target.by_user
  known = np.zeros((small.sizes.users, small.sizes.target), bool)
  known[rows.row, rows.column] = True
  shown = helpers.jitted(conet.examples)(
    jax.random.key(0), rows, jnp.arange(rows.n_entries + 3)
  )
  real = np.arange(rows.n_entries)
  user, item, label = (np.asarray(x)[real] for x in shown[:3])
  np.testing.assert_array_equal(np.sum(label, axis=1), 1)
  np.testing.assert_array_equal(item[label], rows.column)
  np.testing.assert_array_equal(known[user[:, None], item], label)
  assert 0.4 < np.mean(label[:, 0]) < 0.6
  np.testing.assert_array_equal(np.asarray(shown.weight)[-3:], 0)


def without(small, source=(), target=()):
  """The pair without what some users have in a domain."""
  pair = small.split.train
  for name, users in (('source', source), ('target', target)):
    domain = getattr(pair, name)
    keep = ~np.isin(domain.user, users)
    pair = pair._replace(**{name: views.take(domain, keep)})
  return small._replace(data=device.put(pair))


@pytest.mark.matrix
def test_same_user_pairing_shows_one_person_in_both_domains():
  small = without(helpers.implicit(), source=[3, 5])
  stage, _ = started(small, pairing='same_user')
  visits = helpers.jitted(stage.epoch)(jax.random.key(0), small.data)
  source = small.data.source.by_user.events(jnp.ravel(visits.source))
  target = small.data.target.by_user.events(jnp.ravel(visits.target))
  lonely = np.isin(target.row, [3, 5])
  np.testing.assert_array_equal(source.weight, target.weight * ~lonely)
  both = np.asarray(source.weight) > 0
  np.testing.assert_array_equal(
    np.asarray(source.row)[both], np.asarray(target.row)[both]
  )
  assert np.sum(target.weight) == small.data.target.by_user.n_entries


def test_a_row_without_a_source_example_is_not_connected():
  shown = golden_examples()
  weight = jnp.array([1.0, 0.0, 1.0])
  half = shown._replace(source=shown.source._replace(weight=weight))
  params = jax.tree.map(jnp.float32, golden_params())
  _, connected = helpers.jitted(conet.outputs, static_argnums=0)(NETWORK, params, shown)
  _, partly = helpers.jitted(conet.outputs, static_argnums=0)(NETWORK, params, half)
  alone = helpers.jitted(conet.logits_alone, static_argnums=(0, 1))(
    NETWORK, 'target', params, shown.target.user, shown.target.item
  )
  same = np.array([True, False, True])
  np.testing.assert_allclose(partly[same], connected[same], rtol=1e-5)
  np.testing.assert_allclose(partly[1, 0, 0] - partly[1, 0, 1], alone[1, 0], rtol=1e-5)


def test_long_gradients_are_cut_to_a_length_and_short_ones_left():
  cut = conet.clipped(5.0)
  gradient = {'long': jnp.array([[6.0, 0.0], [0.0, 8.0]]), 'short': jnp.ones(3)}
  ours, _ = cut.update(gradient, helpers.jitted(cut.init)(gradient))
  np.testing.assert_allclose(ours['long'], gradient['long'] / 2, rtol=1e-6)
  np.testing.assert_array_equal(ours['short'], gradient['short'])


@pytest.mark.matrix
def test_the_gradient_of_a_batchs_sum_is_cut_at_ten():
  small = helpers.implicit()
  hyper = conet.Hyper(l1=100.0)
  stage, state = started(small, hyper)
  visit = jax.tree.map(
    lambda x: x[-1], helpers.jitted(stage.epoch)(jax.random.key(0), small.data)
  )
  after, _ = helpers.jitted(stage.step)(
    state, visit, small.data, jax.random.key(1), hyper
  )
  pull = moments(after)['cross_0']['kernel']
  length = np.linalg.norm(pull) / LAST
  assert length == pytest.approx(10 / (2 * SHAPE['batch']), rel=1e-5)


def fresh():
  network = conet.CoNet(base.Sizes(400, 500, 600), 32, (32, 16, 8), 2)
  return helpers.jitted(conet.start, static_argnums=0)(network, jax.random.key(0))


def test_fresh_towers_have_two_outputs_and_live_units():
  params = fresh()
  crosses = conet.cross_matrices(params)
  assert [h.shape for h in crosses] == [(64, 32), (32, 16)]
  for each in (params['user'], *crosses):
    np.testing.assert_allclose(np.std(each), 0.01, rtol=0.1)
  for tower in (params['source'], params['target']):
    chex.assert_shape(tower['output']['kernel'], (8, 2))
    assert not np.any(tower['output']['bias'])
    spread = np.std(tower['hidden_0']['kernel'])
    np.testing.assert_allclose(spread, np.sqrt(2 / 64), rtol=0.1)


def test_parameters_are_counted_as_in_the_paper():
  # Two towers 64 -> 32 -> 16 -> 8 -> 2, cross matrices below the first two layers.
  tower = (64 * 32 + 32) + (32 * 16 + 16) + (16 * 8 + 8) + (8 * 2 + 2)
  tables = (400 + 500 + 600) * 32
  assert helpers.count(fresh()) == tables + 2 * tower + 64 * 32 + 32 * 16


def test_a_score_does_not_depend_on_the_source_tower():
  small = helpers.implicit()
  model = conet.model(small.sizes, **SHAPE)
  _, state = started(small)
  users = jnp.arange(10)
  before = helpers.scorer(model.predict_all)(state, small.data)(users)
  params = state.params
  silent = jax.tree.map(jnp.zeros_like, [params['source'], params['cross_0']])
  params = params | dict(zip(('source', 'cross_0'), silent))
  other = state._replace(params=params)
  after = helpers.scorer(model.predict_all)(other, small.data)(users)
  np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
  ('pairing', 'apart'), [('independent', True), ('same_user', False)]
)
def test_people_new_to_the_target_are_told_apart_if_they_are_visited(pairing, apart):
  small = without(helpers.implicit(), target=range(5))
  model = conet.model(small.sizes, **SHAPE | dict(pairing=pairing))
  _, state = started(small)
  new = helpers.scorer(model.predict_all)(state, small.data)(jnp.arange(5))
  gap = np.max(np.ptp(new, axis=0)) / np.max(np.abs(new))
  assert (gap > 1e-3) == apart


@pytest.mark.matrix
def test_a_planted_taste_is_found():
  small, floor = helpers.planted_implicit()
  model = conet.model(small.sizes, embed=16, layers=(16, 8), batch=64)
  ours = loop.fit(
    model,
    jax.random.key(0),
    small.data,
    conet.Hyper(lr=1e-2),
    epochs=8,
    valid=small.valid,
    measure=small.measure,
  )
  assert 1 - ours.best_value > 1.1 * (1 - floor)


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    (dict(pairing='same_usr'), "'same_usr'; did you mean 'same_user'"),
    (dict(cross_layers=4), 'cross_layers is 4 of 3 layers'),
  ],
)
def test_a_setting_that_cannot_be_is_answered_in_words(settings, message):
  with pytest.raises(ValueError, match=message):
    conet.model(helpers.implicit().sizes, **settings)
