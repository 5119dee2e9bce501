"""CoNet's towers against the golden numbers, and what each of them is shown."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import base, nets, stages
from xdomain.data import device, types, views
from xdomain.models import conet, conet_rating
from xdomain.training import loop

SETTINGS = dict(embed=2, layers=(3, 2), cross_layers=1)
FACTS = helpers.golden('golden_rating')['data']
EXPECTED = helpers.golden('golden_rating')['CoNet']


def toy():
  """The data of the golden numbers."""
  users, source, target = FACTS['U,IS,IT']
  pair = types.Pair(
    helpers.ratings_of(FACTS['source_train'], users, source),
    helpers.ratings_of(FACTS['target_train'], users, target),
  )
  return device.sizes(pair), device.put(pair)


NETWORK = conet.CoNet(base.Sizes(5, 3, 6), 2, (3, 2), 1, 1, nets.he)


def golden_tower(items, table, layers, output, level):
  """A tower by the seeds of the golden numbers."""
  wave = helpers.wave

  def layer(depth, shape):
    return {
      'kernel': wave(shape, layers + 0.1 * depth, 0.8),
      'bias': wave(shape[1:], layers + 0.5 + 0.1 * depth, 0.3, 0.5),
    }

  return {
    'item': wave((items, 2), table, 0.9),
    'hidden_0': layer(1, (4, 3)),
    'hidden_1': layer(2, (3, 2)),
    'output': {'kernel': wave((2, 1), output, 0.9), 'bias': np.full(1, level)},
  }


def golden_params():
  """The parameters that the golden numbers were computed with."""
  params = {
    'user': helpers.wave((5, 2), 111, 0.9),
    'source': golden_tower(3, 112, 114, 118, 3.5),
    'target': golden_tower(6, 113, 116, 119, 3.4),
    'cross_0': {'kernel': helpers.wave((4, 3), 120, 0.6)},
  }
  return jax.tree.map(jnp.asarray, params)


def golden_visit(data, padding=0):
  """All target ratings, beside each user's source rating of lowest item id."""
  rows = data.target.by_user
  first = data.source.by_user.start[rows.row]
  ids = types.PerDomain(first, jnp.arange(rows.n_entries))
  empty = data.source.by_user.n_entries, rows.n_entries
  return types.PerDomain(
    *(jnp.pad(x, (0, padding), constant_values=e) for x, e in zip(ids, empty))
  )


def one_step(sizes, data, params, visit, hyper, **settings):
  """Metrics and gradients of a step."""
  (stage,) = conet_rating.model(sizes, **settings).stages
  state = helpers.jitted(stage.init)(jax.random.key(0), data, hyper, ())
  zeros = jax.tree.map(jnp.zeros_like, params)
  state = state._replace(
    params=params,
    frozen=jax.tree.map(jnp.zeros_like, state.frozen),
    moments=state.moments._replace(mu=zeros, nu=zeros),
  )
  state, metrics = helpers.jitted(stage.step)(
    state, visit, data, jax.random.key(0), hyper
  )
  # Adam's first moment is a tenth of the first gradient.
  return metrics, jax.tree.map(lambda m: m / 0.1, jax.device_get(state.moments.mu))


def by_golden_name(params):
  """The gradients by the names of the golden numbers."""
  named = {'P': params['user'], 'X1': params['cross_0']['kernel']}
  for letter, tower in (('S', params['source']), ('T', params['target'])):
    named[f'Q{letter}'] = tower['item']
    for layer, weight, bias in (
      ('output', f'H{letter}', f'b{letter}'),
      ('hidden_0', f'W{letter}1', f'b{letter}1'),
      ('hidden_1', f'W{letter}2', f'b{letter}2'),
    ):
      named[weight], named[bias] = tower[layer]['kernel'], tower[layer]['bias']
  return named


@pytest.mark.parametrize('padding', [0, 5])
def test_loss_and_every_gradient_are_those_of_another_implementation(padding):
  hyper = conet_rating.Hyper(l2=0.0, drop_cross=0.0)
  with jax.enable_x64(True):
    sizes, data = toy()
    metrics, gradients = one_step(
      sizes,
      data,
      golden_params(),
      golden_visit(data, padding),
      hyper,
      **SETTINGS,
    )
  np.testing.assert_allclose(metrics['loss'], EXPECTED['loss'], rtol=1e-9)
  named = by_golden_name(gradients)
  assert set(named) == {
    key.removeprefix('grad/') for key in EXPECTED if key.startswith('grad/')
  }
  for name, gradient in named.items():
    theirs = np.reshape(EXPECTED[f'grad/{name}'], gradient.shape)
    np.testing.assert_allclose(gradient, theirs, atol=1e-9, err_msg=name)


def test_joint_predictions_are_those_of_another_implementation():
  with jax.enable_x64(True):
    _, data = toy()
    params = golden_params()
    rows = data.target.by_user
    beside = np.array(EXPECTED['paired_source_items'])
    inputs = types.PerDomain(
      conet.joined(params, 'source', rows.row, beside),
      conet.joined(params, 'target', rows.row, rows.column),
    )
    open = jnp.ones(rows.n_entries)
    source, target = NETWORK.apply({'params': params}, inputs, open)
  source, target = source[:, 0], target[:, 0]
  np.testing.assert_allclose(source, EXPECTED['pred_source_joint'], rtol=1e-9)
  np.testing.assert_allclose(target, EXPECTED['pred_target_joint'], rtol=1e-9)


def test_the_tower_alone_predicts_as_another_implementation():
  user, item, _ = np.array(FACTS['target_test']).T
  with jax.enable_x64(True):
    sizes, data = toy()
    model = conet_rating.model(sizes, pairing='random', **SETTINGS)
    levels = types.PerDomain(0.0, 0.0)
    score = model.predict(stages.GradientState(golden_params(), levels, ()), data)
    ours = score(user, item[:, None])[:, 0]
  seen = item != 5  # Theirs asks the row of an item that nobody has rated.
  theirs = np.array(EXPECTED['pred_test_tower_only'])
  np.testing.assert_allclose(ours[seen], theirs[seen], rtol=1e-9)


def forward(tower, user, item):
  """What a tower alone makes of two rows, in NumPy."""
  a = np.concatenate([user, item])
  for layer in (tower['hidden_0'], tower['hidden_1']):
    a = np.maximum(a @ layer['kernel'] + layer['bias'], 0)
  return a @ tower['output']['kernel'] + tower['output']['bias']


@pytest.mark.parametrize(('user', 'item'), [(0, 5), (4, 0), (4, 5)])
def test_an_id_that_training_never_visits_has_a_zero_row(user, item):
  sizes, data = toy()  # User 4 has no target rating, and item 5 none at all.
  model = conet_rating.model(sizes, **SETTINGS)
  params = golden_params()
  levels = types.PerDomain(0.0, 2.0)
  score = model.predict(stages.GradientState(params, levels, ()), data)
  ours = score(np.array([user]), np.array([[item]]))
  tower = params['target']
  row = np.where(user == 4, 0, params['user'][user])
  column = np.where(item == 5, 0, tower['item'][item])
  np.testing.assert_allclose(ours[0], 2 + forward(tower, row, column), rtol=1e-5)


def lonely(keep_source=lambda user: user % 3 > 0):
  """A pair in which every third user has no source ratings."""
  pair = helpers.small().split.train
  keep = keep_source(pair.source.user)
  pair = pair._replace(source=views.take(pair.source, keep))
  return device.sizes(pair), device.put(pair)


def test_a_target_rating_is_joined_by_a_source_rating_of_the_same_user():
  _, data = lonely()
  source, target = data.source.by_user, data.target.by_user
  ids = helpers.jitted(conet.same_user, static_argnums=3)(
    jax.random.key(0), source, target, 100
  )
  np.testing.assert_array_equal(
    np.sort(np.ravel(ids.target))[: target.n_entries],
    np.arange(target.n_entries),
  )
  beside, events = source.events(ids.source), target.events(ids.target)
  has = events.weight * (events.row % 3 > 0)
  np.testing.assert_array_equal(beside.weight, has)
  np.testing.assert_array_equal(beside.row, has * events.row)


@pytest.mark.matrix
def test_the_source_rating_is_drawn_uniformly_and_anew():
  _, data = lonely()
  source, target = data.source.by_user, data.target.by_user
  keys = jax.random.split(jax.random.key(0), 400)
  ids = helpers.jitted(jax.vmap(lambda key: conet.same_user(key, source, target, 100)))(
    keys
  )
  drawn = np.bincount(np.ravel(ids.source), minlength=source.n_entries + 1)
  # Each of a user's entries, in his target ratings' share of the draws.
  share = target.length[source.row] / source.length[source.row]
  expected = keys.size * np.asarray(share)
  deviation = (drawn[:-1] - expected) / np.sqrt(expected)
  assert 0.85 < np.mean(deviation**2) < 1.05  # Of a draw, a little below 1.
  assert np.max(np.abs(deviation)) < 5


def test_pairs_at_random_see_each_rating_once_and_the_surplus_first():
  _, data = lonely()
  source, target = data.source.by_user, data.target.by_user
  ids = helpers.jitted(conet.independent, static_argnums=3)(
    jax.random.key(0), source, target, 100
  )
  for x, rows in zip(ids, (source, target)):
    seen = np.bincount(np.ravel(x), minlength=rows.n_entries + 1)
    np.testing.assert_array_equal(seen[:-1], 1)
  assert ids.source.shape == ids.target.shape
  alone = np.all(ids.source == source.n_entries, axis=1)
  surplus = ids.target.shape[0] - -(-source.n_entries // 100)
  np.testing.assert_array_equal(alone, np.arange(alone.size) < surplus)
  assert surplus > 0


def gradients_of_a_step(data, sizes, hyper, visit):
  params = helpers.jitted(conet.start, static_argnums=0)(
    NETWORK.clone(sizes=sizes), jax.random.key(1)
  )
  return one_step(sizes, data, params, visit, hyper, **SETTINGS)[1]


@pytest.mark.matrix
@pytest.mark.parametrize('alone', ['source', 'target'])
def test_a_surplus_batch_trains_one_tower_and_leaves_the_other(alone):
  small = helpers.small()
  domains = types.PerDomain(small.data.source, small.data.target)
  nothing = types.PerDomain(
    *(jnp.full(50, domain.by_user.n_entries) for domain in domains)
  )
  visit = nothing._replace(**{alone: jnp.arange(50)})
  hyper = conet_rating.Hyper(l1=0.3, l2=0.3)
  gradients = gradients_of_a_step(small.data, small.sizes, hyper, visit)
  assert all(map(np.any, jax.tree.leaves(gradients.pop(alone))))
  del gradients['user']
  for leaf in jax.tree.leaves(gradients):  # Of the other tower and between them.
    np.testing.assert_array_equal(leaf, 0)


@pytest.mark.matrix
def test_the_towers_of_a_user_without_source_ratings_are_not_connected():
  sizes, data = lonely(lambda user: user < 0)
  assert data.source.by_user.n_entries == 0
  rows = data.target.by_user
  ids = helpers.jitted(conet.same_user, static_argnums=3)(
    jax.random.key(0), data.source.by_user, rows, 50
  )
  visit = jax.tree.map(lambda x: x[0], ids)
  hyper = conet_rating.Hyper(l1=0.0, l2=0.0, drop_cross=0.0)
  gradients = gradients_of_a_step(data, sizes, hyper, visit)
  for leaf in jax.tree.leaves((gradients['cross_0'], gradients['source'])):
    np.testing.assert_array_equal(leaf, 0)
  assert np.any(gradients['target']['item'])


@pytest.mark.matrix
@pytest.mark.parametrize(('drop_cross', 'moves'), [(0.0, True), (1.0, False)])
def test_cross_matrices_learn_in_batches_that_use_them(drop_cross, moves):
  small = helpers.small()
  visit = types.PerDomain(jnp.arange(50), jnp.arange(50))
  hyper = conet_rating.Hyper(l1=0.0, l2=0.0, drop_cross=drop_cross)
  gradients = gradients_of_a_step(small.data, small.sizes, hyper, visit)
  assert np.any(gradients['cross_0']['kernel']) == moves
  assert np.any(gradients['source']['item'])
  assert np.any(gradients['target']['item'])


@pytest.mark.matrix
def test_the_lasso_pulls_every_entry_of_a_cross_matrix_alike():
  small = helpers.small()
  visit = types.PerDomain(jnp.arange(50), jnp.arange(50))
  hyper = conet_rating.Hyper(l1=0.3, l2=0.0, drop_cross=1.0)
  gradients = gradients_of_a_step(small.data, small.sizes, hyper, visit)
  pull = gradients['cross_0']['kernel']
  np.testing.assert_allclose(np.abs(pull), 0.3, rtol=1e-5)


@pytest.mark.matrix
def test_joint_inference_shows_the_source_tower_the_users_mean_item():
  sizes, data = toy()
  model = conet_rating.model(sizes, pairing='random', inference='joint', **SETTINGS)
  params, levels = golden_params(), types.PerDomain(0.0, 2.0)
  score = model.predict(stages.GradientState(params, levels, ()), data)
  users, items = jnp.array([0, 3]), jnp.array([[0, 2, 3], [1, 3, 0]])
  item = params['source']['item']
  # The source items of users 0 and 3.
  means = (item[0] + item[2]) / 2, (item[0] + item[1]) / 2
  for row, (user, mean) in enumerate(zip(users, means)):
    for k, column in enumerate(items[row]):
      inputs = types.PerDomain(
        jnp.concatenate([params['user'][user], mean])[None],
        conet.joined(params, 'target', user, column)[None],
      )
      _, expected = NETWORK.apply({'params': params}, inputs, jnp.ones(1))
      ours = score(users, items)[row, k]
      np.testing.assert_allclose(ours, 2 + expected[0, 0], rtol=1e-5)


@pytest.mark.matrix
def test_joint_inference_of_a_user_without_source_ratings_is_the_towers():
  sizes, data = lonely()
  params = helpers.jitted(conet.start, static_argnums=0)(
    NETWORK.clone(sizes=sizes), jax.random.key(0)
  )
  params = jax.tree.map(lambda x: 30 * x, params)
  state = stages.GradientState(params, types.PerDomain(3.0, 3.0), ())
  users = jnp.arange(6)
  items = jnp.tile(jnp.arange(sizes.target), (6, 1))
  tower, joint = (
    conet_rating.model(sizes, inference=inference, **SETTINGS).predict(state, data)(
      users, items
    )
    for inference in ('tower', 'joint')
  )
  np.testing.assert_allclose(tower[::3], joint[::3], rtol=1e-5)
  assert np.all(np.any(tower != joint, axis=1)[np.array([1, 2, 4, 5])])


@pytest.mark.matrix
@pytest.mark.parametrize('pairing', ['user', 'random'])
def test_a_planted_taste_is_found(pairing):
  small, floor = helpers.planted(source_ratings=6000)
  model = conet_rating.model(small.sizes, embed=16, pairing=pairing)
  ours = loop.fit(
    model,
    jax.random.key(0),
    small.data,
    conet_rating.Hyper(lr=3e-3, l2=2e-4),
    epochs=30,
    valid=small.valid,
    measure=small.measure,
  )
  assert ours.best_value < 0.95 * floor


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    (dict(pairing='usr'), "pairing is 'usr'; did you mean 'user'"),
    (dict(inference='towr'), "inference is 'towr'; did you mean 'tower'"),
    (dict(cross_layers=4), 'cross_layers is 4 of 3 layers'),
  ],
)
def test_a_setting_that_cannot_be_is_answered_in_words(settings, message):
  with pytest.raises(ValueError, match=message):
    conet_rating.model(helpers.small().sizes, **settings)
