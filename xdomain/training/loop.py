"""One loop for every method, for one setting or a stack of them.

`fit` compiles one epoch of each stage, a `lax.scan` of steps, and loops over
epochs in Python. Leaves of `hyper` are scalars, or `[W]` for a sweep of W runs
that share keys and batches, so that a difference is the hyper-parameter's; or
each has a key and data of its own, as runs of several seeds have.

Keys are folded from (stage, epoch): any epoch can be run again, and a run that
goes on from a `Progress` ends as the unbroken one would have.
"""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xdomain import base, precision
from xdomain.training import placement


class Progress(NamedTuple):
  """Where a run stands after an epoch: all that it needs to go on.

  Leaves that differ between the members of a sweep lead with `[W]`.
  """

  stage: int
  epoch: int  # epochs of this stage that are done
  state: base.Tree
  best: base.Tree  # the state at the best validation so far
  best_value: base.Array  # [] or [W]
  best_epoch: base.Array  # [] or [W]
  failed: base.Array  # [] or [W], diverged
  done: tuple  # the states the stages before ended in


class Report(NamedTuple):
  """What an epoch came to, on the host."""

  stage: str
  epoch: int
  epochs: int
  metrics: dict[str, np.ndarray]  # [] or [W]; means, but all `ratings`
  value: np.ndarray | None  # validation error of this epoch, [] or [W]
  best_value: np.ndarray
  best_epoch: np.ndarray
  seconds: float


class Diverged(ArithmeticError):
  """A loss that is not finite."""


Measure = Callable[[base.Score, base.Arrays, base.Queries], base.Array]


def fit(
  model: base.Model,
  key: base.Array,
  data: base.Arrays,
  hyper: Any,
  *,
  epochs: int | tuple[int, ...],
  valid: Any = None,
  shown: base.Arrays | None = None,
  measure: Measure | None = None,
  patience: int | None = None,
  every: int = 1,
  progress: Progress | None = None,
  watch: Callable[[Report | None, Progress], None] = lambda report, at: None,
) -> Progress:
  """Trains all stages of a model.

  Args:
    model: what to train.
    key: a random key, which members of a sweep share; or `[W]` of them, and
      then data, valid and shown lead with `[W]` as well (`arrays.stack`).
    data: the training data.
    hyper: the model's `Hyper`; leaves `[]`, or `[W]` for a sweep.
    epochs: at most so many, for every stage or for each.
    valid: queries as `.source` and `.target`; without, last epochs are kept.
    shown: what predictions may look at when they are validated, where that is
      not the training data.
    measure: `(score, data, queries) -> []`, lower is better. The evaluated
      domain is always `data.target`: a stage that is validated on the source
      is measured on the mirrored pair.
    patience: a member stops after so many epochs without a better value; at
      least `every`.
    every: validate after every so many epochs, and after the last.
    progress: where to go on from; its arrays are used up.
    watch: called after every epoch, and with None when a stage begins. The
      arrays of its `Progress` are gone when the next epoch ends.

  Returns:
    Where the last stage ended; its `best` is what `model.predict` takes.

  Raises:
    Diverged: the loss is not finite. Members of a sweep are marked instead.
  """
  if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
    raise TypeError(f'key is {key.dtype}; jax.random.key makes one')
  if valid is not None and measure is None:
    raise TypeError('valid is given, but no measure of it')
  if patience is not None and patience < every:
    raise ValueError(
      f'patience ends a run after {patience} epochs, but it is validated every'
      f' {every}; give every at most as many as patience'
    )
  if jax.config.jax_enable_x64:
    raise ValueError(
      'models are trained in 32 bits, and JAX_ENABLE_X64 is set; unset it, or'
      ' call fit within `jax.enable_x64(False)`'
    )
  hyper = _alike(hyper)
  limits = _per_stage(epochs, model.stages)
  apart = key.ndim > 0
  key, data, valid, shown = placement.place(
    _each_has(key, hyper), (key, data, valid, shown), apart
  )
  shown = data if shown is None else shown
  if progress is None:
    progress = begin(model, key, data, hyper, 0, ())
    watch(None, progress)
  while True:
    stage, limit = model.stages[progress.stage], limits[progress.stage]
    selects = _selects(stage, valid)
    while progress.epoch < limit and not _all_stopped(progress, patience):
      started = time.perf_counter()
      progress, metrics = _train(stage, progress, key, data, hyper, patience)
      if stage.inspect is not None:
        metrics |= _inspect(stage, progress, apart, data)
      value = None
      if selects and (progress.epoch % every == 0 or progress.epoch == limit):
        progress, value = _select(
          stage, measure, progress, apart, shown, valid, patience
        )
      watch(_report(stage, limit, progress, metrics, value, started), progress)
    if not selects:
      progress = progress._replace(best=stage.keep(progress.state))
    if progress.stage + 1 == len(model.stages):
      return progress
    done = (*progress.done, progress.best)
    after = begin(model, key, data, hyper, progress.stage + 1, done)
    progress = after._replace(failed=progress.failed)
    watch(None, progress)


def begin(model, key, data, hyper, stage, done) -> Progress:
  """The progress of a stage before its first epoch."""
  every = _each_has(key, hyper)
  across = placement.across(every, done, key.ndim > 0)
  shape = placement.shape(every)
  state = _init(model.stages[stage], across, _fold(key, stage, 0), data, hyper, done)
  return Progress(
    stage,
    0,
    state,
    jax.tree.map(jnp.copy, model.stages[stage].keep(state)),
    jnp.full(shape, jnp.inf),
    jnp.zeros(shape, jnp.int32),
    jnp.zeros(shape, bool),
    done,
  )


def _alike(hyper):
  """Arrays of one shape: what is the same for all members is repeated."""
  leaves, tree = jax.tree.flatten(hyper)
  return tree.unflatten(jnp.broadcast_arrays(*leaves))


def _each_has(key, hyper):
  """What there is one of for each member."""
  return key if key.ndim else hyper


def abstract(model, key, data, hyper, stage) -> Progress:
  """Shapes and dtypes of a stage's progress, to restore a checkpoint into."""
  done = ()
  for index in range(stage):
    done = (*done, abstract(model, key, data, hyper, index).best)

  def arrays(key, data, hyper, done):
    progress = begin(model, key, data, hyper, stage, done)
    return progress._replace(stage=None, epoch=None)

  shapes = jax.eval_shape(arrays, key, data, hyper, done)
  sharding = placement.sharding(_each_has(key, hyper))
  shapes = jax.tree.map(lambda leaf: leaf.update(sharding=sharding), shapes)
  return shapes._replace(stage=stage, epoch=0)


def width(
  model, key, data, hyper, valid=None, measure=None, *, own=None, free=None
) -> int:
  """How many members of a sweep to train at once, on all devices together.

  One on each device where that is faster (`members.at_once`), else as many as
  fit. A member takes its state, its best state, those that earlier stages ended
  in, a gradient, the largest array that an epoch or a validation makes on its
  way, and its own data.

  Args:
    model, key, data, hyper, valid, measure: as given to `fit` of one member.
    own: the data that each has of its own; None where they share all of it.
    free: bytes that may be taken on each device; by default half the free ones.

  Returns:
    At least 1 for each device.
  """
  free = placement.free() if free is None else free
  stands = [
    abstract(model, key, data, hyper, index) for index in range(len(model.stages))
  ]
  devices = jax.local_device_count()
  sizes = [placement.size(each.state) for each in stands]
  if not all(placement.at_once(size, own is not None) for size in sizes):
    return devices
  most = max(
    _bytes(stage, progress, key, data, hyper, valid, measure)
    for stage, progress in zip(model.stages, stands)
  )
  return max(1, free // (most + placement.size(own))) * devices


def _bytes(stage, progress, key, data, hyper, valid, measure):
  """What a member takes in a stage."""
  state = progress.state

  def epoch(state, data, hyper):
    return run_epoch(stage, 'single', state, key, data, hyper, True)

  def validation(state, data, valid):
    return _validate(stage, 'single', False, measure, state, data, valid)

  programs = [jax.make_jaxpr(epoch)(state, data, hyper)]
  if _selects(stage, valid):
    programs.append(jax.make_jaxpr(validation)(state, data, valid))
  gradient = getattr(state, 'params', state)
  kept = state, progress.best, progress.done, gradient
  on_the_way = max(placement.largest(program.jaxpr) for program in programs)
  return placement.size(kept) + on_the_way


def _selects(stage, valid):
  """Whether there is validation data of the stage's domain, and a use of it."""
  return (
    stage.predict is not None
    and valid is not None
    and getattr(valid, stage.domain) is not None
  )


def _train(stage, progress, key, data, hyper, patience):
  """One epoch: the progress after it, and its mean metrics on the host."""
  epoch = progress.epoch + 1
  key = _fold(key, progress.stage, epoch)
  running = ~(_stopped(progress, patience) | progress.failed)
  across = placement.across(progress.failed, progress.state, key.ndim > 0)
  state, metrics, broken = run_epoch(
    stage, across, progress.state, key, data, hyper, running
  )
  metrics, broken = jax.device_get((metrics, broken))
  failed = progress.failed | (running & (broken >= 0))
  if failed.ndim == 0 and failed:
    raise Diverged(
      f'stage {stage.name}: the loss is not finite in epoch {epoch}, step'
      f' {int(broken) + 1}; try a smaller learning rate'
      ' (--config.hyper.lr)'
    )
  return progress._replace(epoch=epoch, state=state, failed=failed), metrics


def _fold(key, *numbers):
  """The key, or each of them, of something numbered."""
  fold = jax.random.fold_in
  for number in numbers:
    key = jax.vmap(fold, (0, None))(key, number) if key.ndim else fold(key, number)
  return key


def _inspect(stage, progress, apart, data):
  across = placement.across(progress.failed, progress.state, apart)
  return jax.device_get(_inspected(stage, across, apart, progress.state, data))


def _select(stage, measure, progress, apart, shown, valid, patience):
  """Validates, and keeps the state where it is the best so far."""
  across = placement.across(progress.failed, progress.state, apart)
  value = _validate(stage, across, apart, measure, progress.state, shown, valid)
  # The epoch that has just ended is not counted as waiting.
  before = progress._replace(epoch=progress.epoch - 1)
  running = ~_stopped(before, patience) & ~progress.failed
  better = (value < progress.best_value) & running
  if np.any(better):
    progress = progress._replace(
      best=_choose(better, stage.keep(progress.state), progress.best),
      best_value=jnp.where(better, value, progress.best_value),
      best_epoch=jnp.where(better, progress.epoch, progress.best_epoch),
    )
  return progress, np.asarray(value)


def _report(stage, limit, progress, metrics, value, started):
  return Report(
    stage.name,
    progress.epoch,
    limit,
    metrics,
    value,
    np.asarray(progress.best_value),
    np.asarray(progress.best_epoch),
    time.perf_counter() - started,
  )


def _stopped(progress, patience):
  """Which members have waited too long for a value better than their best."""
  if patience is None:
    return jnp.zeros_like(progress.failed)
  waited = progress.epoch - progress.best_epoch
  return (progress.best_epoch > 0) & (waited >= patience)


def _all_stopped(progress, patience):
  return bool(np.all(_stopped(progress, patience) | progress.failed))


def _per_stage(epochs, stages):
  epochs = (epochs,) * len(stages) if isinstance(epochs, int) else tuple(epochs)
  if len(epochs) != len(stages):
    names = ', '.join(stage.name for stage in stages)
    raise ValueError(
      f'{len(epochs)} numbers of epochs for {len(stages)} stages ({names});'
      ' give one number, or one for each'
    )
  return epochs


def _each(function, across, apart, own, given):
  """`function(*own, *given)` of each member; given is its own where `apart`."""
  if apart:
    return placement.each(function, across, (*own, *given), ())
  return placement.each(function, across, own, given)


@functools.partial(jax.jit, static_argnames=('stage', 'across'))
@precision.full
def _init(stage, across, key, data, hyper, done):
  def init(hyper, done, key, data):
    return stage.init(key, data, hyper, done)

  return _each(init, across, key.ndim > 0, (hyper, done), (key, data))


@functools.partial(
  jax.jit, static_argnames=('stage', 'across'), donate_argnames='state'
)
@precision.full
def run_epoch(stage, across, state, key, data, hyper, running):
  """All steps of one epoch: state, metrics, first broken step or -1.

  Members that are mapped one by one and do not run any more are passed over.
  """

  def plan(key, data):
    key_visits, key_steps = jax.random.split(key)
    return stage.epoch(key_visits, data), key_steps

  def epoch(state, hyper, data, visits, key_steps):
    def step(state, numbered):
      number, visit = numbered
      key = jax.random.fold_in(key_steps, number)
      return stage.step(state, visit, data, key, hyper)

    n = jax.tree.leaves(visits)[0].shape[0]
    state, metrics = jax.lax.scan(step, state, (jnp.arange(n), visits))
    wrong = ~jnp.isfinite(metrics['loss'])
    broken = jnp.where(jnp.any(wrong), jnp.argmax(wrong), -1)
    means = {
      name: (jnp.sum if name == 'ratings' else jnp.mean)(values, dtype=jnp.float32)
      for name, values in metrics.items()
    }
    return state, means, broken

  def unless_stopped(running, *of_epoch):
    _, metrics, broken = jax.eval_shape(epoch, *of_epoch)
    nothing = jax.tree.map(lambda m: jnp.full(m.shape, jnp.nan), metrics)
    stopped = of_epoch[0], nothing, jnp.full(broken.shape, -1, broken.dtype)
    return jax.lax.cond(running, epoch, lambda *_: stopped, *of_epoch)

  def member(running, *of_epoch):
    if across == 'map':
      return unless_stopped(running, *of_epoch)
    return epoch(*of_epoch)

  def planned(running, state, hyper, key, data):
    return member(running, state, hyper, data, *plan(key, data))

  own = running, state, hyper
  if key.ndim:
    return placement.each(planned, across, (*own, key, data), ())
  return placement.each(member, across, own, (data, *plan(key, data)))


@functools.partial(jax.jit, static_argnames=('stage', 'across', 'apart'))
@precision.full
def _inspected(stage, across, apart, state, data):
  return _each(stage.inspect, across, apart, (state,), (data,))


@functools.partial(jax.jit, static_argnames=('stage', 'across', 'apart', 'measure'))
@precision.full
def _validate(stage, across, apart, measure, state, data, valid):
  def value(state, data, queries):
    facing = data.mirrored() if stage.domain == 'source' else data
    return measure(stage.predict(state, data), facing, queries)

  queries = getattr(valid, stage.domain)
  return _each(value, across, apart, (state,), (data, queries))


@functools.partial(jax.jit, donate_argnames='otherwise')
def _choose(better, state, otherwise):
  def choose(new, old):
    shape = better.shape + (1,) * (new.ndim - better.ndim)
    return jnp.where(better.reshape(shape), new, old)

  return jax.tree.map(choose, state, otherwise)
