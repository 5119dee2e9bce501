"""The contract that every file in `xdomain/models/` keeps."""

import functools
import importlib
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import models
from xdomain.data import device
from xdomain.training import checkpoint, loop, placement

NAMES = [module.name for module in pkgutil.iter_modules(models.__path__)]
EPOCHS = 2


@pytest.fixture(scope='module', params=NAMES)
def name(request):
  """Each model in turn, with all of its tests; then its programs go."""
  yield request.param
  trained.cache_clear()
  jax.clear_caches()


def load(name):
  return importlib.import_module(f'xdomain.models.{name}')


def fit(name, hyper=None, seed=0, split=0, **options):
  small = helpers.small(split=split)
  module = load(name)
  return loop.fit(
    module.model(small.sizes),
    jax.random.key(seed),
    small.data,
    module.Hyper() if hyper is None else hyper,
    epochs=EPOCHS,
    valid=small.valid,
    measure=small.measure,
    **options,
  )


@functools.cache
def trained(name):
  return fit(name)


def score(name, state, split=0):
  small = helpers.small(split=split)
  return load(name).model(small.sizes).predict(state, small.data)


def everything():
  """All users, each with all items."""
  sizes = helpers.small().sizes
  items = np.tile(np.arange(sizes.target), (sizes.users, 1))
  return jnp.arange(sizes.users), jnp.asarray(items)


def stacked(trees):
  return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def other(name):
  """The default hyper-parameters with another value for the first of them."""
  hyper = load(name).Hyper()
  if not hyper:
    pytest.skip(f'{name} has no hyper-parameter')
  return hyper._replace(**{hyper._fields[0]: 0.5 * hyper[0]})


def test_hyper_parameters_are_floats_with_defaults(name):
  assert all(isinstance(value, float) for value in load(name).Hyper())


def test_the_module_says_where_the_method_comes_from(name):
  years = map(str, range(1990, 2031))
  assert any(year in load(name).__doc__ for year in years), (
    'its docstring cites no paper with a year'
  )


def test_settings_are_keyword_only_and_made_once(name):
  model = load(name).model
  sizes = helpers.small().sizes
  assert model(sizes) is model(sizes)
  with pytest.raises(TypeError):
    model(sizes, 3)


def test_scores_are_finite_and_have_the_shape_of_the_candidates(name):
  users, items = everything()
  scores = score(name, trained(name).best)(users, items)
  assert scores.shape == items.shape
  assert np.all(np.isfinite(scores))


def test_the_order_of_candidates_does_not_matter(name):
  users, items = everything()
  ask = score(name, trained(name).best)
  np.testing.assert_allclose(
    ask(users, items)[:, ::-1], ask(users, items[:, ::-1]), atol=1e-5
  )


def test_all_items_score_at_once_as_one_by_one(name):
  small = helpers.small()
  model, state = load(name).model(small.sizes), trained(name).best
  if model.predict_all is None:
    pytest.skip(f'{name} scores item by item')
  users, items = everything()
  at_once = model.predict_all(state, small.data)(users)[:, : items.shape[1]]
  np.testing.assert_allclose(at_once, score(name, state)(users, items), atol=1e-5)


def test_a_user_scores_alone_as_among_others(name):
  users, items = everything()
  ask = score(name, trained(name).best)
  np.testing.assert_allclose(
    ask(users, items)[7:8], ask(users[7:8], items[7:8]), atol=1e-5
  )


def test_a_sweep_equals_its_runs(name):
  hypers = load(name).Hyper(), other(name)
  swept = fit(name, stacked(hypers))
  users, items = everything()
  for member, hyper in enumerate(hypers):
    alone = fit(name, hyper)
    state = jax.tree.map(lambda leaf, member=member: leaf[member], swept.best)
    np.testing.assert_allclose(
      score(name, state)(users, items),
      score(name, alone.best)(users, items),
      atol=1e-4,
    )
    assert swept.best_epoch[member] == alone.best_epoch


def test_vmap_and_map_agree(name, monkeypatch):
  hypers = load(name).Hyper(), other(name)
  values = {}
  for across in ('map', 'vmap'):
    monkeypatch.setattr(placement, 'across', lambda *trees, form=across: form)
    values[across] = fit(name, stacked(hypers)).best_value
  np.testing.assert_allclose(values['map'], values['vmap'], atol=1e-4)


def test_seeds_at_once_equal_each_alone(name, monkeypatch):
  monkeypatch.setattr(placement, 'across', lambda *args: 'vmap')
  splits = helpers.small(), helpers.small(split=1)
  both = loop.fit(
    load(name).model(splits[0].sizes),
    jax.vmap(jax.random.key)(jnp.arange(2)),
    device.stack([each.data for each in splits]),
    stacked([load(name).Hyper()] * 2),
    epochs=EPOCHS,
    valid=stacked([each.valid for each in splits]),
    measure=splits[0].measure,
  )
  monkeypatch.undo()
  users, items = everything()
  for seed in range(2):
    state = jax.tree.map(lambda leaf, seed=seed: leaf[seed], both.best)
    alone = fit(name, seed=seed, split=seed)
    np.testing.assert_allclose(
      score(name, state, seed)(users, items),
      score(name, alone.best, seed)(users, items),
      atol=1e-4,
    )
    assert both.best_epoch[seed] == alone.best_epoch


def test_a_new_value_does_not_compile_again(name):
  fit(name)
  before = loop.run_epoch._cache_size()
  fit(name, other(name))
  assert loop.run_epoch._cache_size() == before


def test_every_hyper_parameter_changes_what_is_trained(name):
  # Loud weights: what each of them changes is seen in float32 at once.
  default = load(name).Hyper()
  if not default:
    pytest.skip(f'{name} has no hyper-parameter')
  hyper = type(default)(
    *(v if f == 'lr' else 0.3 * v + 0.4 for f, v in default._asdict().items())
  )
  for field, value in hyper._asdict().items():
    pair = hyper, hyper._replace(**{field: 0.5 * value})
    swept = fit(name, stacked(pair))
    leaves = jax.tree.leaves(swept.best)
    assert any(np.any(leaf[0] != leaf[1]) for leaf in leaves), field


def test_the_seed_decides(name):
  again = fit(name)
  for one, two in zip(jax.tree.leaves(trained(name)), jax.tree.leaves(again)):
    np.testing.assert_array_equal(one, two)


def test_saving_and_restoring_changes_nothing(name, tmp_path):
  small, module = helpers.small(), load(name)
  identity = {'method': name}
  checkpoint.save(tmp_path / 'c', trained(name), identity)
  restored = checkpoint.restore(
    tmp_path / 'c',
    identity,
    module.model(small.sizes),
    jax.random.key(0),
    small.data,
    module.Hyper(),
  )
  assert jax.tree.structure(restored) == jax.tree.structure(trained(name))
  for one, two in zip(jax.tree.leaves(restored), jax.tree.leaves(trained(name))):
    np.testing.assert_array_equal(one, two)


def test_a_run_that_goes_on_ends_as_the_unbroken_one(name):
  stands = []
  fit(name, watch=lambda report, at: stands.append(jax.device_get(at)))
  for at in stands[:-1]:
    progress = jax.tree.map(jnp.asarray, at)._replace(stage=at.stage, epoch=at.epoch)
    resumed = fit(name, progress=progress)
    for one, two in zip(jax.tree.leaves(resumed), jax.tree.leaves(trained(name))):
      np.testing.assert_array_equal(one, two)


def test_people_and_items_without_training_ratings_do_no_harm(name):
  small = helpers.small()
  pair = small.split.train
  from xdomain.data import pairs

  source, target = pair.source, pair.target
  new = np.isin(target.user, [3, 7])
  target = pairs.take(target, ~new & (target.item != 5))
  source = pairs.take(source, (source.user != 4) & (source.item != 6))
  data = device.put(pair._replace(source=source, target=target))
  module = load(name)
  model = module.model(small.sizes)
  progress = loop.fit(
    model,
    jax.random.key(0),
    data,
    module.Hyper(),
    epochs=EPOCHS,
    valid=small.valid,
    measure=small.measure,
  )
  users, items = everything()
  scores = model.predict(progress.best, data)(users, items)
  assert np.all(np.isfinite(scores))
  blind = model.target_only or name == 'item_pop'
  assert blind or np.any(scores[3] != scores[7]), (
    'those who are new to the target score alike: the model is target_only'
  )
  known = model.trained(data, users[:, None], items)
  assert known.shape == items.shape


def test_there_are_models():
  assert {'autorec', 'bias', 'darec'} <= set(NAMES)
