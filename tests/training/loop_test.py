import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import helpers
from xdomain import base, programs, stages
from xdomain.models import autorec, darec
from xdomain.training import loop


def ladder(values, name='fit', domain='target', predicts=True):
  """A stage whose validation error goes through `values`, epoch by epoch."""
  values = jnp.asarray([0.0, *values])

  def init(key, data, hyper, previous):
    del key, data, previous
    return {'epoch': jnp.int32(0), 'scale': jnp.asarray(hyper)}

  def epoch(key, data):
    del key, data
    return jnp.zeros((1,))

  def step(state, visit, data, key, hyper):
    del visit, data, key
    at = state['epoch'] + 1
    state = {'epoch': at, 'scale': state['scale']}
    return state, {'loss': values[at] * hyper}

  def predict(state, data):
    del data
    return lambda users, items: jnp.full(
      items.shape, values[state['epoch']] * state['scale']
    )

  stage = base.Stage(init, epoch, step, predict if predicts else None, domain, name)
  return base.Model((stage,), predict)


def value_itself(score, data, queries):
  del data
  return score(queries.user, queries.item)[0, 0], ()


def fit(model, hyper=1.0, **options):
  small = helpers.small()
  settings = dict(epochs=5, valid=small.valid, measure=value_itself)
  return loop.fit(
    model,
    jax.random.key(0),
    small.data,
    jnp.asarray(hyper),
    **settings | options,
  )


def test_the_best_epoch_is_kept_and_not_the_last():
  end = fit(ladder([5.0, 3.0, 4.0, 6.0, 7.0]))
  assert end.best_of()['epoch'] == 2
  assert (end.best_epoch, end.best_value, end.epoch) == (2, 3.0, 5)


def test_without_validation_the_last_epoch_is_kept():
  end = fit(ladder([5.0, 3.0, 4.0, 6.0, 7.0]), valid=None)
  assert end.best['epoch'] == 5


def test_a_stage_that_predicts_nothing_keeps_its_last_epoch():
  end = fit(ladder([5.0, 3.0, 4.0, 6.0, 7.0], predicts=False))
  assert end.best['epoch'] == 5


def test_patience_counts_epochs_since_the_best():
  end = fit(ladder([5.0, 3.0, 4.0, 6.0, 1.0]), patience=2)
  assert (end.best_epoch, end.epoch) == (2, 4)
  end = fit(ladder([5.0, 3.0, 4.0, 6.0, 1.0]), patience=3)
  assert (end.best_epoch, end.epoch) == (5, 5)


def test_patience_does_not_end_a_stage_before_it_was_ever_validated():
  end = fit(ladder([7.0, 6.0, 5.0, 6.0, 4.0]), patience=3, every=3)
  assert (end.best_epoch, end.epoch) == (5, 5)


def test_a_patience_that_cannot_see_a_second_validation_is_refused():
  with pytest.raises(ValueError, match=r'after 2 epochs.*validated every 3'):
    fit(ladder([5.0, 3.0]), patience=2, every=3)


def test_training_in_64_bits_is_refused_before_it_fails():
  with jax.enable_x64(True), pytest.raises(ValueError, match='in 32 bits'):
    fit(ladder([5.0, 3.0]))
  with jax.enable_x64(True), jax.enable_x64(False):
    assert fit(ladder([5.0, 3.0])).best_epoch == 2


def test_validation_may_be_every_few_epochs_and_always_after_the_last():
  seen = []
  end = fit(
    ladder([5.0, 3.0, 4.0, 6.0, 2.0]),
    every=2,
    watch=lambda report, at: report and seen.append(report.value is not None),
  )
  assert seen == [False, True, False, True, True]
  assert end.best_epoch == 5


def test_a_stage_that_chooses_validates_each_of_its_choices():
  model = ladder([5.0, 3.0, 4.0, 6.0, 1.0, 2.0])
  (stage,) = model.stages

  def step(*args):
    return stage.step(*args)[0], {}  # A choice has no loss.

  model = model._replace(stages=(stage._replace(step=step, choices=6),))
  seen = []
  end = fit(
    model,
    epochs=3,
    every=2,
    patience=2,
    watch=lambda report, at: report and seen.append(report.value),
  )
  assert (end.best_epoch, end.epoch) == (5, 6)
  assert seen == [5.0, 3.0, 4.0, 6.0, 1.0, 2.0]
  assert fit(model, epochs=(4,), valid=None).best['epoch'] == 4


def test_a_single_run_is_a_sweep_of_one():
  model = ladder([5.0, 3.0, 4.0, 6.0, 7.0])
  reports = []
  ends = [
    fit(model, hyper, watch=lambda report, at: report and reports.append(report))
    for hyper in (1.0, [1.0])
  ]
  chex.assert_trees_all_equal(*ends)
  for end in ends:
    chex.assert_shape([end.best_value, end.failed, *jax.tree.leaves(end.state)], (1,))
  chex.assert_shape([report.value for report in reports], (1,))
  chex.assert_shape(jax.tree.leaves(ends[0].best_of()), ())


def test_each_member_of_a_sweep_keeps_its_own_best():
  model = ladder([5.0, -3.0, 4.0, 6.0, 7.0])
  end = fit(model, [1.0, -1.0])
  np.testing.assert_array_equal(end.best_epoch, [2, 5])
  np.testing.assert_array_equal(end.best['epoch'], [2, 5])
  np.testing.assert_array_equal(end.best_value, [-3.0, -7.0])


def test_a_member_that_ran_out_of_patience_stays_as_its_single_run():
  model = ladder([5.0, 6.0, 7.0, 1.0, 0.0])
  end = fit(model, [1.0, -1.0], patience=2)
  np.testing.assert_array_equal(end.best_epoch, [1, 3])
  for member, hyper in enumerate([1.0, -1.0]):
    alone = fit(model, hyper, patience=2)
    assert alone.best_epoch == end.best_epoch[member]


def test_a_loss_that_is_not_finite_stops_and_names_epoch_and_step():
  with pytest.raises(loop.Diverged, match='epoch 3, step 1'):
    fit(ladder([5.0, 3.0, np.inf, 6.0, 7.0]))


def test_a_diverged_member_is_marked_and_harms_no_other():
  def broken_where_negative(hyper):
    return jnp.where(hyper < 0, jnp.nan, hyper)

  (stage,) = ladder([5.0, 3.0, 4.0, 6.0, 7.0]).stages

  def step(state, visit, data, key, hyper):
    state, metrics = stage.step(state, visit, data, key, hyper)
    return state, {'loss': metrics['loss'] * broken_where_negative(hyper)}

  model = base.Model((stage._replace(step=step),), stage.predict)
  end = fit(model, [1.0, -1.0])
  np.testing.assert_array_equal(end.failed, [False, True])
  assert end.best_value[0] == 3.0
  with pytest.raises(loop.Diverged, match='epoch 1, step 1'):
    fit(model, [-1.0, -1.0])


def test_a_member_that_had_stopped_before_it_diverges_is_as_its_single_run():
  model = ladder([5.0, 6.0, 7.0, np.inf, 0.0])
  end = fit(model, [1.0, -1.0], patience=2)
  alone = fit(model, 1.0, patience=2)
  assert not end.failed[0] and not alone.failed[0]
  assert end.best_epoch[0] == alone.best_epoch == 1


def test_a_member_that_diverged_in_a_stage_does_not_come_back_in_the_next():
  (first,) = ladder([5.0, 3.0, 4.0, 6.0, 7.0], 'first').stages

  def step(state, visit, data, key, hyper):
    state, metrics = first.step(state, visit, data, key, hyper)
    return state, {'loss': jnp.where(hyper < 0, jnp.nan, metrics['loss'])}

  second = ladder([2.0, 1.0, 3.0, 3.0, 3.0], 'second').stages[0]
  model = base.Model((first._replace(step=step), second), second.predict)
  end = fit(model, [1.0, -1.0])
  np.testing.assert_array_equal(end.failed, [False, True])
  np.testing.assert_array_equal(end.best_epoch, [2, 0])


def test_stages_follow_one_another_and_see_the_best_before():
  first = ladder([5.0, 3.0, 4.0, 6.0, 7.0], 'first').stages[0]
  second = ladder([2.0, 1.0, 3.0, 3.0, 3.0], 'second').stages[0]

  def init(key, data, hyper, previous):
    state = ladder([0.0]).stages[0].init(key, data, hyper, previous)
    return state | {'scale': previous[0]['epoch'].astype(jnp.float32)}

  model = base.Model((first, second._replace(init=init)), second.predict)
  names = []
  end = fit(
    model,
    epochs=(3, 2),
    watch=lambda report, at: names.append(
      (report.stage, report.epoch) if report else (at.stage, 'begins')
    ),
  )
  assert names == [
    (0, 'begins'),
    ('first', 1),
    ('first', 2),
    ('first', 3),
    (1, 'begins'),
    ('second', 1),
    ('second', 2),
  ]
  assert end.best['scale'] == 2.0
  assert end.done[0]['epoch'] == 2


def test_a_source_stage_is_validated_on_the_mirrored_pair():
  small = helpers.small()
  seen = {}

  def measure(score, data, queries):
    seen['items'] = data.target.by_item.n_rows
    seen['queries'] = queries.user.shape[0]
    return score(queries.user, queries.item)[0, 0], ()

  fit(ladder([1.0] * 5, domain='source'), measure=measure)
  assert seen['items'] == small.sizes.source
  assert seen['queries'] == small.valid.source.user.shape[0]


def test_a_wrong_number_of_epochs_names_the_stages():
  with pytest.raises(ValueError, match='2 numbers of epochs for 1 stages'):
    fit(ladder([1.0]), epochs=(1, 2))


def test_keys_differ_between_stages_epochs_and_steps():
  seen = []

  def step(state, visit, data, key, hyper):
    del visit, data, hyper
    jax.debug.callback(
      lambda k: seen.append(tuple(np.asarray(k).tolist())),
      jax.random.key_data(key),
    )
    return state, {'loss': jnp.float32(0)}

  (stage,) = ladder([1.0] * 5).stages
  stage = stage._replace(step=step, epoch=lambda key, data: jnp.zeros(3), predict=None)
  fit(base.Model((stage, stage), stage.predict), epochs=2)
  jax.effects_barrier()
  assert len(seen) == len(set(seen)) == 2 * 2 * 3


def test_the_learning_rate_is_followed_exactly():
  def init(key, data, hyper, previous):
    del key, data, hyper, previous
    return jnp.array(1.0), ()

  def loss(params, frozen, visit, data, key, hyper):
    del frozen, visit, data, key, hyper
    return 3.0 * params, {}

  stage = stages.gradient_stage(init, loss, lambda key, data: jnp.zeros((4,)))
  small = helpers.small()
  end = loop.fit(
    base.Model((stage,), None),
    jax.random.key(0),
    small.data,
    autorec.Hyper(lr=0.01),
    epochs=1,
  )
  # Under a constant gradient, every step of Adam has the length of the rate.
  np.testing.assert_allclose(end.best_of().params, 1 - 4 * 0.01, rtol=1e-5)


def test_every_epoch_runs_on_the_device_in_one_program():
  small = helpers.small()
  model = darec.model(small.sizes, axis='item', embed=8)
  data, hyper = small.data, darec.Hyper()
  stage = model.stages[1]
  state = stage.init(jax.random.key(0), data, hyper, ())
  text = loop.epoch.lower(stage, state, jax.random.key(0), data, hyper).as_text()
  assert 'while' in text and 'callback' not in text
  # The state's buffers are reused.
  assert text.count('tf.aliasing_output') >= len(jax.tree.leaves(state.params))


@pytest.mark.parametrize('hyper', [1.0, [1.0, 2.0]])
def test_programs_are_compiled_side_by_side_and_once(monkeypatch, hyper):
  def of_two_stages():
    stages = [ladder([5.0, 3.0, 4.0, 6.0, 7.0]).stages[0] for _ in range(2)]
    with programs.watch() as compiled:
      fit(base.Model(tuple(stages), stages[1].predict), hyper)
    return compiled.programs

  of_two_stages()  # Compiles what all models share.
  ahead = of_two_stages()
  monkeypatch.setattr(loop, '_compile', lambda *args: None)
  assert ahead == of_two_stages() > 0


def test_of_equal_values_the_first_epoch_is_kept():
  end = fit(ladder([5.0, 3.0, 3.0, 3.0, 7.0]))
  assert (end.best_epoch, end.best['epoch']) == (2, 2)


def test_validation_predicts_from_what_is_shown():
  small = helpers.small()
  shown = small.data._replace(target=small.data.source)
  (stage,) = ladder([1.0] * 5).stages
  stage = stage._replace(
    predict=lambda state, data: (
      lambda users, items: jnp.full(
        items.shape, data.target.by_item.n_rows, jnp.float32
      )
    )
  )
  end = fit(base.Model((stage,), stage.predict), shown=shown, epochs=1)
  assert end.best_value == small.sizes.source != small.sizes.target


def test_what_is_visited_and_what_a_step_draws_have_keys_of_their_own():
  seen = []

  def keep(key):
    jax.debug.callback(
      lambda k: seen.append(tuple(np.asarray(k).tolist())),
      jax.random.key_data(key),
    )

  def epoch(key, data):
    del data
    keep(key)
    keep(jax.random.fold_in(key, 0))
    return jnp.zeros(3)

  def step(state, visit, data, key, hyper):
    del visit, data, hyper
    keep(key)
    return state, {'loss': jnp.float32(0)}

  (stage,) = ladder([1.0] * 5).stages
  stage = stage._replace(step=step, epoch=epoch, predict=None)
  fit(base.Model((stage,), stage.predict), epochs=1)
  jax.effects_barrier()
  assert len(seen) == len(set(seen)) == 2 + 3


def stepping(metrics, epochs=1, **options):
  """The report of an epoch of three steps with the given metrics."""
  (stage,) = ladder([1.0] * 5).stages
  metrics = {name: jnp.array(values) for name, values in metrics.items()}

  def step(state, visit, data, key, hyper):
    del data, key, hyper
    return state, {name: values[visit] for name, values in metrics.items()}

  stage = stage._replace(step=step, epoch=lambda key, data: jnp.arange(3), predict=None)
  reports = []
  fit(
    base.Model((stage,), None),
    epochs=epochs,
    watch=lambda report, at: report and reports.append(report),
    **options,
  )
  return reports


def test_ratings_are_added_up_and_other_metrics_averaged():
  (report,) = stepping(
    {'loss': [1.0, 2.0, 6.0], 'ratings': [10, 20, 30], 'kl': [3.0, 3.0, 0.0]}
  )
  assert report.metrics['ratings'] == 60
  assert report.metrics['loss'] == 3.0
  assert report.metrics['kl'] == 2.0


def test_a_loss_that_is_finite_again_at_the_end_of_an_epoch_has_diverged():
  with pytest.raises(loop.Diverged, match='epoch 1, step 2'):
    stepping({'loss': [1.0, np.nan, 2.0]})
