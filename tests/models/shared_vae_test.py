"""SharedVAE and its forms against the golden numbers and the paper's counts."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import base, nets
from xdomain.data import device, types, views
from xdomain.models import (
  shared_vae,
  shared_vae_aux,
  shared_vae_cold,
  single_vae,
)

GOLDEN = helpers.golden('golden_ranking')
SHAPE = dict(hidden=(4, 3), latent=2, batch=3)
HYPER = shared_vae.Hyper(beta=2.0, l2=0.01)
LAST = 0.1  # Adam's first moment is a tenth of the first gradient.


def golden_params(reads=4, side=0, mapped=False):
  """Filled layers in the golden order; `reads` columns into the decoder."""
  k = itertools.count()

  def dense(inputs, outputs):
    shape = inputs, outputs
    return {
      'kernel': helpers.fill(next(k), shape),
      'bias': helpers.fill(next(k), outputs),
    }

  def table(layer, transposed=False):
    kernel = layer['kernel']
    return {'table': kernel.T if transposed else kernel, 'bias': layer['bias']}

  def encoder(items):
    return {
      'bag': table(dense(items, 4)),
      'hidden_0': dense(4, 3),
      'mean': dense(3 + side, 2),
      'logvar': dense(3 + side, 2),
    }

  def decoder(inputs, items):
    return {
      'hidden_0': dense(inputs, 3),
      'hidden_1': dense(3, 4),
      'output': table(dense(4, items), transposed=True),
    }

  source, target = {'encoder': encoder(5)}, {'encoder': encoder(4)}
  source['decoder'], target['decoder'] = decoder(2, 5), decoder(reads, 4)
  params = {'source_0': source, 'target': target}
  if mapped:
    params['link'] = {'mapping': dense(2, 2)}
  if side:
    for domain in (source, target):
      domain['encoder'] |= {'side_0': dense(3, 3), 'side_1': dense(3, 2)}
  return params


@pytest.fixture
def noise(monkeypatch):
  """The golden noise, in place of the key's."""
  drawn = itertools.cycle([101, 102])

  def sample(key, mean, logvar):
    eps = helpers.fill(next(drawn), mean.shape, scale=1.0)
    return mean + jnp.exp(logvar / 2) * eps

  monkeypatch.setattr(nets, 'sample', sample)


def one_step(module, hyper, params, data, **settings):
  """Metrics with the total, and gradients, of a step over all users."""
  stage = module.model(base.Sizes(3, 5, 4), **SHAPE, **settings).stages[0]
  state = helpers.jitted(stage.init)(jax.random.key(0), data, hyper, ())
  chex.assert_trees_all_equal_shapes(params, state.params)
  zeros = jax.tree.map(jnp.zeros_like, params)
  moments = state.moments._replace(mu=zeros, nu=zeros)
  state = state._replace(params=params, moments=moments)
  after, metrics = helpers.jitted(stage.step)(
    state, jnp.arange(3), data, jax.random.key(0), hyper
  )
  squares = sum(
    jnp.sum(leaf**2) for leaf in jax.tree.leaves(shared_vae.regularised(params))
  )
  metrics['total'] = metrics['loss'] + hyper.l2 * squares
  gradients = jax.tree.map(lambda m: m / LAST, after.moments.mu)
  return jax.device_get((metrics, gradients))


def step_of(variant, **settings):
  """A golden step of 'shared', 'cold' or 'aux'."""
  with jax.enable_x64(True):
    if variant == 'cold':
      hyper = shared_vae_cold.Hyper(beta=2.0, l2=0.01)
      params = golden_params(reads=2, mapped=True)
      return one_step(shared_vae_cold, hyper, params, helpers.golden_pair_arrays())
    if variant == 'aux':
      side = np.stack(
        [helpers.fill(201, (3, 3), 1.0), helpers.fill(202, (3, 3), 1.0)], axis=1
      )
      data = helpers.golden_pair_arrays()._replace(side=jnp.asarray(side))
      params = golden_params(side=2)
      return one_step(shared_vae_aux, HYPER, params, data, side=(3, 2))
    hyper = settings.pop('hyper', HYPER)
    return one_step(
      shared_vae, hyper, golden_params(), helpers.golden_pair_arrays(), **settings
    )


@pytest.mark.parametrize('variant', ['shared', 'cold', 'aux'])
def test_the_loss_and_its_parts_are_those_of_another_implementation(variant, noise):
  expected = GOLDEN[f'vae_{variant}']
  metrics, _ = step_of(variant)
  parts = {
    'total': expected['total'],
    'source': expected['part_recon_s'],
    'target': expected['part_recon_t'],
    'kl': expected['part_kl_s'] + expected['part_kl_t'],
    'alignment': expected['part_align'],
    'link': expected['part_map'],
  }
  for name, value in parts.items():
    assert metrics[name] == pytest.approx(value, rel=1e-9), name


def test_every_gradient_is_that_of_another_implementation(noise):
  expected = GOLDEN['vae_shared']
  _, gradients = step_of('shared')
  names = dict(zip(expected['param_order'], _in_order(gradients), strict=True))
  for name, norm in expected['grad_norms'].items():
    assert np.linalg.norm(names[name]) == pytest.approx(norm, rel=1e-7), name
  for name in ('enc_s.mu.w', 'enc_t.h0.w', 'dec_t.h0.w', 'dec_t.out.b'):
    np.testing.assert_allclose(
      names[name],
      expected[f'grad_{name.replace(".", "_")}'],
      rtol=1e-7,
      atol=1e-9,
    )


def _in_order(params):
  """The leaves in the golden order; output kernels as there."""
  domains = params['source_0'], params['target']
  for encoder in (domain['encoder'] for domain in domains):
    yield from (encoder['bag']['table'], encoder['bag']['bias'])
    for name in ('hidden_0', 'mean', 'logvar'):
      yield from (encoder[name]['kernel'], encoder[name]['bias'])
  for decoder in (domain['decoder'] for domain in domains):
    for name in ('hidden_0', 'hidden_1'):
      yield from (decoder[name]['kernel'], decoder[name]['bias'])
    yield from (decoder['output']['table'].T, decoder['output']['bias'])


@pytest.mark.matrix
def test_the_mapping_is_trained_as_in_another_implementation(noise):
  _, gradients = step_of('cold')
  ours = gradients['link']['mapping']['kernel']
  np.testing.assert_allclose(ours, GOLDEN['vae_cold']['grad_map_w'], rtol=1e-7)


@pytest.mark.matrix
@pytest.mark.parametrize(
  ('settings', 'total'),
  [
    (dict(alignment='paired_l2'), 'total_paired_l2'),
    (dict(hyper=HYPER._replace(align=0.0)), 'total_none'),
  ],
)
def test_alignments_are_those_of_another_implementation(settings, total, noise):
  metrics, _ = step_of('shared', **settings)
  expected = GOLDEN['vae_shared'][total]
  assert metrics['total'] == pytest.approx(expected, rel=1e-9)


@pytest.mark.matrix
def test_without_beta_all_cells_weigh_the_same(noise):
  metrics, _ = step_of('shared', hyper=HYPER._replace(beta=0.0))
  expected = GOLDEN['vae_variants']['shared_beta0']
  assert metrics['total'] == pytest.approx(expected, rel=1e-9)


@pytest.mark.matrix
def test_the_source_sends_no_gradient_to_the_encoder_of_the_target(noise):
  only = HYPER._replace(align=0.0, kl=0.0, l2=0.0)
  _, both = step_of('shared', hyper=only)
  with jax.enable_x64(True):
    params = golden_params()
    # A decoder that reads nothing leaves the source's reconstruction alone.
    for name in ('hidden_0', 'hidden_1'):
      layer = params['target']['decoder'][name]
      params['target']['decoder'][name] = jax.tree.map(jnp.zeros_like, layer)
    _, source = one_step(shared_vae, only, params, helpers.golden_pair_arrays())
  for leaf in jax.tree.leaves(source['target']['encoder']):
    np.testing.assert_array_equal(leaf, 0)
  # The target's reaches the source, which is what links them.
  tables = [each['source_0']['encoder']['bag']['table'] for each in (both, source)]
  assert np.any(tables[0] != tables[1])


@pytest.mark.matrix
def test_a_padded_batch_equals_the_unpadded_one(noise):
  with jax.enable_x64(True):
    data = helpers.golden_pair_arrays()
    stage = shared_vae.model(base.Sizes(3, 5, 4), **SHAPE).stages[0]
    state = helpers.jitted(stage.init)(jax.random.key(0), data, HYPER, ())
    # The golden noise is cut from one wave, so real rows have the same.
    steps = [
      helpers.jitted(stage.step)(
        state, jnp.asarray(ids), data, jax.random.key(0), HYPER
      )
      for ids in ([0, 1, 2], [0, 1, 2, 3, 3])
    ]
  unpadded, padded = (float(metrics['loss']) for _, metrics in steps)
  assert unpadded == pytest.approx(padded, rel=1e-9)


@pytest.mark.matrix
def test_one_of_several_sources_is_the_plain_model(noise):
  with jax.enable_x64(True):
    data = helpers.golden_pair_arrays()
    several = data._replace(source=(data.source,))
    plain, _ = one_step(shared_vae, HYPER, golden_params(), data)
    one, _ = one_step(shared_vae, HYPER, golden_params(), several)
  assert plain['total'] == one['total']


@pytest.mark.matrix
def test_several_sources_are_read_side_by_side():
  pair = helpers.implicit().split.train
  several = device.put(pair._replace(source=(pair.source, pair.source)))
  sizes = helpers.implicit().sizes
  model = shared_vae.model(sizes, hidden=(8,), latent=4, batch=16)
  (stage,) = model.stages
  state = helpers.jitted(stage.init)(jax.random.key(0), several, shared_vae.Hyper(), ())
  kernel = state.params['target']['decoder']['hidden_0']['kernel']
  chex.assert_shape(kernel, (12, 8))
  visit = helpers.jitted(stage.epoch)(jax.random.key(0), several)[0]
  _, metrics = helpers.jitted(stage.step)(
    state, visit, several, jax.random.key(1), shared_vae.Hyper()
  )
  assert np.isfinite(metrics['loss'])


@pytest.mark.matrix
def test_somebody_without_a_source_is_no_part_of_its_terms():
  data = helpers.implicit().data
  sizes = helpers.implicit().sizes
  empty = data._replace(
    source=device.domain(helpers.ratings_of([], sizes.users, sizes.source))
  )
  model = shared_vae.model(sizes, hidden=(8,), latent=4, batch=16)
  (stage,) = model.stages
  state = helpers.jitted(stage.init)(jax.random.key(0), empty, shared_vae.Hyper(), ())
  visit = helpers.jitted(stage.epoch)(jax.random.key(0), empty)[0]
  _, metrics = helpers.jitted(stage.step)(
    state, visit, empty, jax.random.key(1), shared_vae.Hyper()
  )
  assert metrics['source'] == 0 and metrics['target'] > 0


@pytest.mark.parametrize(
  ('module', 'sizes', 'settings', 'count'),
  [
    (shared_vae, (300, 2262), dict(hidden=(256,)), 1_545_218),
    (shared_vae, (28656, 59880), dict(hidden=(512, 256)), 91_506_648),
    (single_vae, (0, 2262), dict(hidden=(256,)), 1_259_478),
    (single_vae, (0, 59880), dict(hidden=(512, 256)), 61_739_240),
    (single_vae, (0, 2562), dict(hidden=(512,), latent=256), 3_020_802),
    (
      single_vae,
      (0, 88536),
      dict(hidden=(1024, 512), latent=256),
      182_855_640,
    ),
    (single_vae, (0, 2262), dict(hidden=(512,), latent=256), 2_713_302),
    (
      single_vae,
      (0, 59880),
      dict(hidden=(1024, 512), latent=256),
      124_139_496,
    ),
  ],
)
def test_there_are_as_many_parameters_as_in_the_paper(module, sizes, settings, count):
  source, target = sizes
  model = module.model(base.Sizes(3, source, target), **settings)
  data = device.put(
    types.Pair(
      helpers.ratings_of([[0, 0, 1]], 3, max(1, source)),
      helpers.ratings_of([[0, 0, 1]], 3, target),
    )
  )
  init = model.stages[0].init
  state = jax.eval_shape(
    lambda key: init(key, data, module.Hyper(), ()), jax.random.key(0)
  )
  assert helpers.count(state.params) == count


def _scores(module, data, **settings):
  sizes = helpers.implicit().sizes
  model = module.model(sizes, hidden=(8,), latent=4, batch=16, **settings)
  state = helpers.jitted(model.stages[0].init)(
    jax.random.key(0), helpers.implicit().data, module.Hyper(), ()
  )
  users = jnp.arange(sizes.users)
  return helpers.scorer(model.predict_all)(state, data)(users)


@pytest.mark.matrix
def test_a_cold_score_ignores_the_target():
  data = helpers.implicit().data
  sizes = helpers.implicit().sizes
  empty = device.domain(helpers.ratings_of([], sizes.users, sizes.target))
  full = _scores(shared_vae_cold, data)
  without = _scores(shared_vae_cold, data._replace(target=empty))
  np.testing.assert_allclose(full, without, atol=1e-5)
  full = _scores(shared_vae, data)
  without = _scores(shared_vae, data._replace(target=empty))
  assert not np.allclose(full, without, atol=1e-5)


@pytest.mark.matrix
def test_merged_with_an_empty_source_is_single_on_the_target():
  """Given equal weights; the padded columns are known to be absent."""
  data = helpers.implicit().data
  sizes = helpers.implicit().sizes
  settings = dict(hidden=(8,), latent=4, batch=16)
  single = single_vae.model(sizes, **settings)
  merged = single_vae.model(
    sizes._replace(target=sizes.target + sizes.source), **settings
  )
  hyper = single_vae.Hyper()
  small = helpers.jitted(single.stages[0].init)(
    jax.random.key(0), data, hyper, ()
  ).params

  large = helpers.copied(small)
  output = large['decoder']['output']
  for layer in (large['encoder']['bag'], output):
    layer['table'] = jnp.pad(layer['table'], ((0, sizes.source), (0, 0)))
  output['bias'] = jnp.pad(output['bias'], (0, sizes.source), constant_values=-1e9)
  train = helpers.implicit().split.train
  wide = device.put(views.joint(views.alone(train)))
  losses = []
  for model, params, seen in ((single, small, data), (merged, large, wide)):
    (stage,) = model.stages
    state = helpers.jitted(stage.init)(jax.random.key(0), seen, hyper, ())
    state = state._replace(params=params)
    visit = helpers.jitted(stage.epoch)(jax.random.key(0), seen)[0]
    _, metrics = helpers.jitted(stage.step)(
      state, visit, seen, jax.random.key(1), hyper
    )
    losses.append(float(metrics['loss']))
  assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_an_unknown_setting_is_answered_with_a_near_one():
  with pytest.raises(ValueError, match="did you mean 'mmd'"):
    shared_vae.model(base.Sizes(3, 4, 5), alignment='mmdd')
  with pytest.raises(ValueError, match='activation'):
    shared_vae_cold.model(base.Sizes(3, 4, 5), activation='tan')
