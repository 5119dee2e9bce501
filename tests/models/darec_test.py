"""DARec against the golden numbers, term by term and sign by sign."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import base, stages
from xdomain.data import types
from xdomain.models import darec
from xdomain.training import loop

AXES = pytest.mark.parametrize('axis', ['user', 'item'])
DOMAINS = ('source', 'target')


def golden(axis):
  return helpers.golden('golden_rating')[f'{axis[0].upper()}-DARec']


def autorec_params(axis, domain):
  columns = {'item': 5, 'user': {'source': 3, 'target': 6}[domain]}[axis]
  seed = {'source': 31, 'target': 41}[domain]
  tree = {
    'encoder': {
      'table': helpers.wave((columns, 3), seed),
      'bias': helpers.wave((3,), seed + 1),
    },
    'decoder': {'table': np.zeros((columns, 3)), 'bias': np.zeros(columns)},
  }
  return jax.tree.map(jnp.asarray, tree)


def golden_params(columns):
  """The second network that the golden numbers were computed with."""
  wave = helpers.wave

  def layer(rows, width, seed, scale=0.8, bias_shift=0.37):
    bias = wave((width,), seed + 1, 0.3, bias_shift)
    return {'kernel': wave((rows, width), seed, scale), 'bias': bias}

  def head(columns, seed):
    table = wave((columns, 3), seed + 4, 0.8)
    return {
      'hidden_0': layer(3, 4, seed),
      'hidden_1': layer(4, 3, seed + 2),
      'output': {'table': table, 'bias': wave((columns,), seed + 5, 1.0, 3.0)},
    }

  tree = {
    'extractor': layer(3, 3, 10, bias_shift=0.2),
    'source': head(columns[0], 12),
    'target': head(columns[1], 18),
    'classifier': {
      'hidden_0': layer(3, 2, 24, 2.0, bias_shift=0.0),
      'output': layer(2, 1, 26, 2.0, bias_shift=0.0),
    },
  }
  return jax.tree.map(jnp.asarray, tree)


def named_as_golden(tree):
  """A tree of the network's parameters under the names of the golden numbers."""
  layers = {'We': tree['extractor']}
  for letter, head in (('S', tree['source']), ('T', tree['target'])):
    parts = head['hidden_0'], head['hidden_1'], head['output']
    layers |= {f'{letter}{depth}': part for depth, part in enumerate(parts, 1)}
  parts = tree['classifier']['hidden_0'], tree['classifier']['output']
  layers |= {f'C{depth}': part for depth, part in enumerate(parts, 1)}
  named = {}
  for name, layer in layers.items():
    bias = 'be' if name == 'We' else name.lower()
    named |= {name: layer.get('kernel', layer.get('table')), bias: layer['bias']}
  return named


def _roomy(domain):
  """The golden batches are not balanced and repeat rows: more entries each."""
  return base.Domain(*(dataclasses.replace(r, longest=4 * r.longest) for r in domain))


def one_step(axis):
  """Metrics and gradients of a step over all rows, as sums."""
  expected = golden(axis)
  sizes, data, _ = helpers.golden_arrays()
  data = data._replace(source=_roomy(data.source), target=_roomy(data.target))
  domains = np.array(expected['batch_domain'])
  ids = np.array(expected['batch_rows'])
  visit = types.PerDomain(*(jnp.asarray(ids[domains == d]) for d in (0, 1)))
  rows = types.PerDomain(*(getattr(data, d).along(axis) for d in DOMAINS))
  counts = types.PerDomain(*(r.expected(i) for r, i in zip(rows, visit)))
  hyper = darec.Hyper(
    beta=1.0 * counts.source,
    target=0.5 * counts.target,
    mu=0.7 if axis == 'user' else 0.7 * ids.size,
    domain=1.0 * ids.size,
    lam=0.001,
    offset=0.0,
  )
  stage = darec.model(
    sizes, axis=axis, embed=3, extractor=3, heads=(4, 3), classifier=2
  ).stages[-1]
  previous = tuple(
    stages.GradientState(autorec_params(axis, domain), 0.0, ()) for domain in DOMAINS
  )
  state = helpers.jitted(stage.init)(jax.random.key(0), data, hyper, previous)
  params = golden_params([r.n_columns for r in rows])
  chex.assert_trees_all_equal_shapes(params, state.params)
  zeros = jax.tree.map(jnp.zeros_like, params)
  moments = state.moments._replace(mu=zeros, nu=zeros)
  state = state._replace(params=params, moments=moments)
  after, metrics = helpers.jitted(stage.step)(
    state, visit, data, jax.random.key(0), hyper
  )
  gradients = jax.tree.map(lambda m: m / 0.1, jax.device_get(after.moments.mu))
  return jax.device_get((state, metrics, gradients, counts))


@AXES
def test_losses_are_those_of_another_implementation(axis):
  expected = golden(axis)
  with jax.enable_x64(True):
    state, metrics, _, counts = one_step(axis)
    for domain, given in zip('ST', state.frozen):
      np.testing.assert_allclose(
        given.embedding, expected[f'embedding_{domain}'], rtol=1e-7
      )
  count = len(expected['batch_rows'])
  for value, name in (
    (metrics['mse_source'] * counts.source, 'sse_S'),
    (metrics['mse'] * counts.target, 'sse_T'),
    (metrics['domain_loss'] * count, 'loss_dom_sum'),
  ):
    np.testing.assert_allclose(value, expected[name], rtol=1e-7)


@AXES
def test_every_gradient_is_that_of_another_implementation(axis):
  expected = golden(axis)
  with jax.enable_x64(True):
    _, _, gradients, _ = one_step(axis)
  for name, gradient in named_as_golden(gradients).items():
    np.testing.assert_allclose(
      gradient, expected[f'grad/{name}'], atol=1e-6, err_msg=name
    )


@pytest.mark.matrix
def test_user_darec_reverses_the_classifier_and_item_darec_does_not():
  for axis, sign in (('user', -1), ('item', 1)):
    expected = golden(axis)
    with jax.enable_x64(True):
      state, _, gradients, _ = one_step(axis)
      kernel = state.params['extractor']['kernel']
    np.testing.assert_allclose(
      gradients['extractor']['kernel'],
      np.array(expected['grad_pred_only/We'])
      + sign * 0.7 * np.array(expected['grad_dom_only/We'])
      + 2 * 0.001 * kernel,
      atol=1e-6,
    )


@pytest.mark.parametrize('half', [4, 64])
def test_an_epoch_shows_every_row_and_repeats_only_the_smaller_domain(half):
  data = helpers.small(users=60, source=40, target=50).data
  source, target = data.source.by_item, data.target.by_item
  visits = darec.interleaved(jax.random.key(0), source, target, half)
  seen = [np.bincount(v.ravel(), minlength=51) for v in visits]
  np.testing.assert_array_equal(seen[1][:50], 1)
  assert set(seen[0][:40]) <= {1, 2}
  assert visits.source.shape == visits.target.shape


@pytest.mark.matrix
def test_source_ratings_do_not_train_the_target_head():
  small = helpers.small()
  model = darec.model(small.sizes, axis='user', embed=8)
  hyper = darec.Hyper(lam=0.0, target=0.0)
  end = loop.fit(model, jax.random.key(0), small.data, hyper, epochs=1)
  start = loop.begin(model, jax.random.key(0), small.data, hyper, end.done).state
  chex.assert_trees_all_equal(end.best.params['target'], start.params['target'])
  kernels = [s.params['source']['hidden_0']['kernel'] for s in (end.best, start)]
  assert np.any(kernels[0] != kernels[1])


@pytest.mark.matrix
@AXES
def test_each_domain_is_scored_by_its_own_head_and_embeddings(axis):
  small = helpers.small()
  model = darec.model(small.sizes, axis=axis, embed=8)
  end = loop.fit(model, jax.random.key(0), small.data, darec.Hyper(), epochs=1)
  predicts = {'source': model.predict_source, 'target': model.predict}
  for domain, predict in predicts.items():
    queries = getattr(small.test, domain)

    def ask(state, predict=predict, queries=queries):
      return predict(state, small.data)(queries.user, queries.item)

    before = ask(end.best_of())
    for changed in DOMAINS:
      params, given = helpers.copied(end.best_of().params), end.best_of().frozen
      params[changed]['output']['bias'] += 1
      moved = ask(end.best_of()._replace(params=params)) - before
      np.testing.assert_allclose(moved, float(changed == domain), atol=1e-5)
      embedding = getattr(given, changed).embedding * 0 + 5.0
      other = getattr(given, changed)._replace(embedding=embedding)
      frozen = given._replace(**{changed: other})
      moved = ask(end.best_of()._replace(frozen=frozen)) - before
      assert np.any(moved != 0) == (changed == domain)


@pytest.mark.matrix
@AXES
def test_the_source_has_a_penalty_of_its_own(axis):
  small = helpers.small()
  model = darec.model(small.sizes, axis=axis, embed=8)
  ends = [
    loop.fit(
      model,
      jax.random.key(0),
      small.data,
      darec.Hyper(alpha_source=alpha),
      epochs=2,
    ).done
    for alpha in (1e-4, 1e-1)
  ]
  (source, target), (other_source, other_target) = ends
  chex.assert_trees_all_equal(target.params, other_target.params)
  tables = [each.params['encoder']['table'] for each in (source, other_source)]
  assert np.any(tables[0] != tables[1])


def inspected(change):
  """The logged metrics of a network after `change(params)`."""
  small = helpers.small()
  model = darec.model(small.sizes, axis='user', embed=8)
  state = loop.fit(
    model, jax.random.key(0), small.data, darec.Hyper(), epochs=1
  ).best_of()
  params = helpers.copied(state.params)
  change(params)
  return model.stages[-1].inspect(state._replace(params=params), small.data)


@pytest.mark.parametrize(('bias', 'dead'), [(-100.0, 1.0), (100.0, 0.0)])
def test_units_that_never_fire_are_counted(bias, dead):
  def change(params):
    params['extractor']['bias'] += bias

  assert inspected(change)['dead_units'] == dead


def test_a_classifier_that_always_says_target_is_right_half_the_time():
  def change(params):
    params['classifier']['output']['bias'] += 1e3

  assert inspected(change)['domain_accuracy'] == 0.5


def test_a_classifier_that_knows_the_domains_is_always_right():
  small = helpers.small()
  model = darec.model(small.sizes, axis='user', embed=8)
  end = loop.fit(model, jax.random.key(0), small.data, darec.Hyper(), epochs=1)
  params = jax.tree.map(jnp.zeros_like, end.best_of().params)
  # One unit of each layer carries the sign of one coordinate of f.
  classifier = params['classifier']
  for layer, value in (
    (params['extractor'], 1.0),
    (classifier['hidden_0'], 100.0),
    (classifier['output'], 2.0),
  ):
    layer['kernel'] = jnp.asarray(layer['kernel']).at[0, 0].set(value)
  classifier['output']['bias'] -= 1.5
  given = types.PerDomain(
    *(
      g._replace(embedding=jnp.full_like(g.embedding, sign))
      for g, sign in zip(end.best_of().frozen, (-1.0, 1.0))
    )
  )
  state = end.best_of()._replace(params=params, frozen=given)
  inspect = model.stages[-1].inspect
  assert inspect(state, small.data)['domain_accuracy'] == 1.0


def test_parameters_are_counted_by_the_layers_of_the_paper():
  # Extractor 8 -> 6; two heads 6 -> 5 -> 4 -> columns; classifier 6 -> 3 -> 1.
  small = helpers.small()
  model = darec.model(
    small.sizes, axis='user', embed=8, extractor=6, heads=(5, 4), classifier=3
  )
  *_, last = loop.shapes(model, jax.random.key(0), small.data, darec.Hyper())
  shapes = last.state.params
  users, source, target = small.sizes
  del users
  head = 6 * 5 + 5 + 5 * 4 + 4
  classifier = 6 * 3 + 3 + 3 + 1
  outputs = (source + target) * (4 + 1)
  assert helpers.count(shapes) == (8 * 6 + 6 + 2 * head + classifier + outputs)


@AXES
@pytest.mark.parametrize('end_to_end', [False, True])
def test_heads_from_autorec_begin_at_its_predictions(axis, end_to_end):
  sizes, data, _ = helpers.golden_arrays()
  model = darec.model(
    sizes,
    axis=axis,
    embed=3,
    extractor=3,
    heads=(4, 2),
    classifier=2,
    from_autorec=True,
    end_to_end=end_to_end,
  )
  stages_1, stage = model.stages[:2], model.stages[2]
  hyper, key = darec.Hyper(offset_autorec=0.5, offset=1.0), jax.random.key(1)
  begun_1 = [helpers.jitted(each.init)(key, data, hyper, ()) for each in stages_1]
  begun = helpers.jitted(stage.init)(key, data, hyper, tuple(begun_1))
  users = jnp.arange(sizes.users)[:, None]
  predicts = model.predict_source, model.predict
  for domain, state, of_domain, predict in zip(DOMAINS, begun_1, stages_1, predicts):
    items = jnp.arange(getattr(sizes, domain))[None]
    wanted = of_domain.predict(state, data)(users, items)
    chex.assert_trees_all_close(predict(begun, data)(users, items), wanted, atol=1e-6)
    assert np.ptp(wanted) > 1e-3
  visit = jax.tree.map(lambda ids: ids[0], stage.epoch(key, data))
  after, _ = helpers.jitted(stage.step)(begun, visit, data, key, hyper)
  moved = jax.tree.map(lambda new, old: jnp.any(new != old), after.params, begun.params)
  assert moved['target']['output']['table']
  if end_to_end:
    assert all(jax.tree.leaves(moved['encoders']))
