"""The contract that every file in `xdomain/models/` keeps.

The training loop works for any model whose functions are pure, can be mapped over
members, and never branch on a value. These properties are read from jaxprs, without
compiling. The numbers of a model come from two programs: one trains every stage, one
scores every item for every user.
"""

import functools
import importlib
import pathlib
import re
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import core
from jax.interpreters import partial_eval

from tests import helpers
from xdomain import base, models

NAMES = models.names()
EPOCHS = 2
MEMBERS = 3
DTYPES = ('float32', 'int32', 'uint32', 'bool', 'key<fry>')
# Of models whose sizes by default take long.
SETTINGS = {
  'kernel_als': dict(factors=4, sweeps=2, rank=4),
  'fm_cdcf_mcmc': dict(factors=2, samples=3),
}
# Elements that a function may hold as a constant, such as the pairs of a batch.
CONSTANT = 4096


@pytest.fixture(scope='module', params=NAMES)
def name(request):
  """Each model in turn, with all of its tests."""
  return request.param


def load(name):
  return importlib.import_module(f'xdomain.models.{name}')


def build(name) -> base.Model:
  return load(name).model(helpers.gaps().sizes, **SETTINGS.get(name, {}))


def test_there_are_models():
  assert {'autorec', 'bias', 'darec'} <= set(NAMES)


# --- The module -------------------------------------------------------------


def test_hyper_parameters_are_floats_with_defaults(name):
  assert all(isinstance(value, float) for value in load(name).Hyper())


PAPERS = pathlib.Path(__file__).parents[2] / 'docs' / 'methods' / 'papers.md'
YEAR = r'\b(?:19[5-9]|20[0-3])\d\b'


@functools.cache
def papers() -> set[tuple[str, str]]:
  """First author and year of each paper that the documents list."""
  pattern = rf'^- (Latent user linking|cmfrec|[\w-]+)\b.*?({YEAR})'
  return set(re.findall(pattern, PAPERS.read_text(), re.M))


def unlisted(text: str) -> list[str]:
  """The years of a text without a listed paper whose first author it names."""
  text = ' '.join(text.split())
  return [
    found[0]
    for found in re.finditer(YEAR, text)
    if not any(
      year == found[0] and re.search(rf'\b{author}\b', text[: found.start()])
      for author, year in papers()
    )
  ]


def test_the_module_cites_papers_that_exist(name):
  text = load(name).__doc__
  assert re.search(YEAR, text), 'it cites no paper with its year'
  assert not unlisted(text), f'{unlisted(text)}: add the paper to {PAPERS}'


@pytest.mark.parametrize('text', ['Koren 1999', 'Nobody 2010', 'As in Steck, WWW 2021'])
def test_a_paper_that_does_not_exist_is_noticed(text):
  assert unlisted(text) and not unlisted('Koren, Bell and Volinsky 2009; Steck 2019')


def test_settings_are_keyword_only_and_a_model_is_built_once(name):
  model = load(name).model
  sizes = helpers.gaps().sizes
  assert model(sizes) is model(sizes)
  with pytest.raises(TypeError):
    model(sizes, 3)


def test_stages_have_names_of_their_own_and_a_domain(name):
  stages = build(name).stages
  assert len({stage.name for stage in stages}) == len(stages)
  assert {stage.domain for stage in stages} <= {'source', 'target'}


# --- Without compiling ------------------------------------------------------


class Traced(NamedTuple):
  """A function of a model as a program: `output` has the shapes of its result."""

  function: Callable
  arguments: tuple
  program: core.ClosedJaxpr
  output: Any


class StageTraces(NamedTuple):
  init: Traced
  epoch: Traced
  step: Traced
  keep: Traced


def trace(function, *arguments) -> Traced:
  """Traces with shapes alone: a branch on a value fails here."""
  program, output = jax.make_jaxpr(function, return_shape=True)(*arguments)
  return Traced(function, arguments, program, output)


def shapes(tree):
  return jax.eval_shape(lambda: tree)


def call(traced: Traced, *arguments):
  """The result of a traced function, which is not traced again."""
  leaves = core.jaxpr_as_fun(traced.program)(*jax.tree.leaves(arguments))
  return jax.tree.unflatten(jax.tree.structure(traced.output), leaves)


@functools.cache
def stage_traces(name) -> tuple[StageTraces, ...]:
  key, data = shapes((jax.random.key(0), helpers.gaps().data))
  hyper, previous, traces = shapes(scalars(load(name).Hyper())), (), []
  for stage in build(name).stages:
    init = trace(stage.init, key, data, hyper, previous)
    epoch = trace(stage.epoch, key, data)
    visit = jax.tree.map(lambda leaf: leaf.update(shape=leaf.shape[1:]), epoch.output)
    step = trace(stage.step, init.output, visit, data, key, hyper)
    keep = trace(stage.keep, init.output)
    traces.append(StageTraces(init, epoch, step, keep))
    previous = (*previous, keep.output)
  return tuple(traces)


@functools.cache
def score_traces(name) -> dict[str, Traced]:
  """What a model computes from a state that it keeps."""
  model, data = build(name), shapes(helpers.gaps().data)
  users, items = shapes(every_pair())
  kept = [each.keep.output for each in stage_traces(name)]
  traces = {
    'predict': trace(ask(model.predict), kept[-1], data, users, items),
    'trained': trace(model.trained, data, users.update(shape=(users.size, 1)), items),
  }
  if model.predict_all is not None:
    traces['predict_all'] = trace(ask(model.predict_all), kept[-1], data, users)
  if model.predict_source is not None:
    traces['predict_source'] = trace(
      ask(model.predict_source), kept[-1], data, users, items
    )
  for stage, traced, state in zip(model.stages, stage_traces(name), kept):
    if stage.predict not in (None, model.predict):
      traces[f'{stage.name}.predict'] = trace(
        ask(stage.predict), state, data, users, items
      )
    if stage.inspect is not None:
      traces[f'{stage.name}.inspect'] = trace(stage.inspect, traced.init.output, data)
  return traces


def ask(predict):
  """A predictor as one function of all that it depends on."""
  return lambda state, data, *queries: predict(state, data)(*queries)


def all_traces(name) -> list[Traced]:
  stages = [each for traces in stage_traces(name) for each in traces]
  return [*stages, *score_traces(name).values()]


def scalars(hyper):
  return jax.tree.map(jnp.float32, hyper)


def every_pair():
  """All users `[U]`, each with all items `[U, T]`."""
  sizes = helpers.gaps().sizes
  items = np.tile(np.arange(sizes.target, dtype=np.int32), (sizes.users, 1))
  return jnp.arange(sizes.users), jnp.asarray(items)


def nested(program: core.Jaxpr):
  """A program and all programs within it."""
  yield program
  for inner in core.subjaxprs(program):
    yield from nested(inner)


def shapes_in(tree):
  return Counter(leaf.shape for leaf in jax.tree.leaves(tree))


def test_functions_are_pure(name):
  for traced in all_traces(name):
    assert not traced.program.effects
    for program in nested(traced.program.jaxpr):
      assert not any('callback' in str(e.primitive) for e in program.eqns)


def test_functions_take_their_data_as_arguments(name):
  for traced in all_traces(name):
    held = [np.shape(constant) for constant in traced.program.consts]
    assert all(np.prod(shape) <= CONSTANT for shape in held), held


@pytest.mark.matrix
def test_functions_have_no_memory(name):
  for traced in all_traces(name):
    again = trace(traced.function, *traced.arguments)
    assert str(again.program) == str(traced.program)


@pytest.mark.matrix
def test_functions_can_be_mapped_over_members(name):
  def of_members(tree):
    return jax.tree.map(lambda leaf: leaf.update(shape=(MEMBERS, *leaf.shape)), tree)

  for traced in all_traces(name):
    arguments, output = map(jax.tree.leaves, (traced.arguments, traced.output))
    function = jax.vmap(core.jaxpr_as_fun(traced.program))
    mapped = jax.eval_shape(function, *of_members(arguments))
    chex.assert_trees_all_equal_shapes_and_dtypes(mapped, of_members(output))


def test_every_hyper_parameter_reaches_the_state(name):
  hyper = load(name).Hyper()
  reaches = np.zeros(len(hyper), bool)
  for traces in stage_traces(name):
    for traced in (traces.init, traces.step):
      state = traced.output if traced is traces.init else traced.output[0]
      of_state = len(jax.tree.leaves(state))
      outputs = [i < of_state for i in range(len(traced.program.out_avals))]
      _, used = partial_eval.dce_jaxpr(traced.program.jaxpr, outputs)
      sizes = [len(jax.tree.leaves(argument)) for argument in traced.arguments]
      position = next(
        i for i, each in enumerate(traced.arguments) if isinstance(each, type(hyper))
      )
      begin = sum(sizes[:position])
      reaches |= np.array(used[begin : begin + len(hyper)], bool)
  unused = [field for field, seen in zip(hyper._fields, reaches) if not seen]
  assert not unused


def test_a_step_keeps_the_structure_of_the_state(name):
  for traces in stage_traces(name):
    state, _ = traces.step.output
    chex.assert_trees_all_equal_structs(state, traces.init.output)
    chex.assert_trees_all_equal_shapes_and_dtypes(state, traces.init.output)


def test_every_array_has_32_bits(name):
  for traced in all_traces(name):
    dtypes = {str(leaf.dtype) for leaf in jax.tree.leaves(traced.output)}
    assert dtypes <= set(DTYPES)


def test_metrics_are_scalars_and_have_a_loss(name):
  for stage, traces in zip(build(name).stages, stage_traces(name), strict=True):
    _, metrics = traces.step.output
    chex.assert_shape(list(metrics.values()), ())
    if not stage.choices:
      assert metrics['loss'].dtype == jnp.float32


def test_every_visit_of_an_epoch_has_a_row(name):
  for traces in stage_traces(name):
    (n,) = {leaf.shape[0] for leaf in jax.tree.leaves(traces.epoch.output)}
    assert n > 0


def test_a_kept_state_is_a_part_of_the_state(name):
  for traces in stage_traces(name):
    (state,) = traces.keep.arguments
    assert shapes_in(traces.keep.output) <= shapes_in(state)


def test_scores_have_the_shape_of_the_candidates(name):
  traces, sizes = score_traces(name), helpers.gaps().sizes
  _, items = every_pair()
  for part, traced in traces.items():
    if part.endswith('inspect'):
      chex.assert_shape(list(traced.output.values()), ())
    elif part != 'predict_all':
      chex.assert_shape(traced.output, items.shape)
  assert traces['trained'].output.dtype == bool
  if 'predict_all' in traces:
    users, width = traces['predict_all'].output.shape
    assert users == sizes.users and width >= sizes.target


# --- Two programs -----------------------------------------------------------


@functools.cache
def trainer(name):
  """`(key, hyper, data) -> kept state, losses [EPOCHS] of each stage`, compiled."""

  def train_stage(stage, key, hyper, data, previous):
    def epoch(state, key):
      key_visits, key_steps = jax.random.split(key)
      visits = call(stage.epoch, key_visits, data)

      def step(state, numbered):
        number, visit = numbered
        key = jax.random.fold_in(key_steps, number)
        return call(stage.step, state, visit, data, key, hyper)

      n = jax.tree.leaves(visits)[0].shape[0]
      state, metrics = jax.lax.scan(step, state, (jnp.arange(n), visits))
      return state, jnp.mean(metrics.get('loss', jnp.zeros(1)))

    state = call(stage.init, key, data, hyper, previous)
    return jax.lax.scan(epoch, state, jax.random.split(key, EPOCHS))

  def train(key, hyper, data):
    done, losses = (), []
    for number, stage in enumerate(stage_traces(name)):
      state, loss = train_stage(
        stage, jax.random.fold_in(key, number), hyper, data, done
      )
      done, losses = (*done, call(stage.keep, state)), [*losses, loss]
    return done[-1], losses

  return jax.jit(train)


def train(name, hyper=None, seed=0):
  hyper = load(name).Hyper() if hyper is None else hyper
  return trainer(name)(jax.random.key(seed), scalars(hyper), helpers.gaps().data)


trained = functools.cache(train)


@functools.cache
def scorer(name):
  """`(state, data, users, items) -> scores by item, scores of all`, compiled."""
  traces = score_traces(name)

  def score(state, data, users, items):
    one_by_one = call(traces['predict'], state, data, users, items)
    if 'predict_all' not in traces:
      return one_by_one, None
    return one_by_one, call(traces['predict_all'], state, data, users)

  return jax.jit(score)


def score(name, users, items):
  state, _ = trained(name)
  return scorer(name)(state, helpers.gaps().data, users, items)


def test_training_is_finite_and_so_are_the_scores(name):
  """Also of users and items without training data, which this pair has."""
  _, losses = trained(name)
  chex.assert_tree_all_finite((losses, score(name, *every_pair())))


def test_the_order_of_candidates_does_not_matter(name):
  users, items = every_pair()
  scores, _ = score(name, users, items)
  reversed_scores, _ = score(name, users, items[:, ::-1])
  np.testing.assert_allclose(scores[:, ::-1], reversed_scores, atol=1e-5)


def test_all_items_score_at_once_as_one_by_one(name):
  users, items = every_pair()
  one_by_one, at_once = score(name, users, items)
  if at_once is None:
    pytest.skip(f'{name} scores item by item')
  np.testing.assert_allclose(at_once[:, : items.shape[1]], one_by_one, atol=1e-5)


def test_a_user_scores_the_same_whoever_else_is_in_the_batch(name):
  users, items = every_pair()
  among_others = score(name, users, items)
  among_one = score(name, jnp.where(users == 7, 7, 0), items)
  for left, right in zip(jax.tree.leaves(among_others), jax.tree.leaves(among_one)):
    np.testing.assert_allclose(left[7], right[7], atol=1e-5)


def test_users_new_to_the_target_are_told_apart_by_their_source(name):
  if build(name).target_only or name == 'item_pop':
    pytest.skip(f'{name} knows users by their target interactions')
  scores, _ = score(name, *every_pair())
  alike = 'users without target ratings score alike; set target_only=True in base.Model'
  assert np.any(scores[3] != scores[7]), alike


def test_a_key_decides_every_bit(name):
  chex.assert_trees_all_equal(train(name), trained(name))


@pytest.mark.matrix
def test_every_hyper_parameter_changes_the_result(name):
  # Loud weights: their effect shows in float32 at once.
  default = load(name).Hyper()
  hyper = type(default)(
    *(v if f == 'lr' else 0.3 * v + 0.4 for f, v in default._asdict().items())
  )
  leaves = jax.tree.leaves(train(name, hyper)[0])
  for field, value in hyper._asdict().items():
    other, _ = train(name, hyper._replace(**{field: 0.5 * value}))
    pairs = zip(leaves, jax.tree.leaves(other))
    assert any(np.any(one != two) for one, two in pairs), field


def test_other_values_and_seeds_run_the_same_program(name):
  hyper = load(name).Hyper()
  train(name, seed=1)
  train(name, type(hyper)(*(0.5 * value for value in hyper)))
  assert trainer(name)._cache_size() == 1
