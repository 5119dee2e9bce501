"""One loop for every method, for one run or the W members of a sweep.

`fit` compiles one epoch of each stage, a `lax.scan` of steps, and loops over
epochs in Python. Leaves of `hyper` are scalars, or `[W]` for members that share
keys and batches, so that a difference is due to the hyper-parameter; or each
member has its own key and data, as runs of several seeds do.

Keys are folded from (stage, epoch): any epoch can be repeated, and a run that
resumes from a `Progress` ends as the uninterrupted one would have. What decides
the course of a run (best values, epochs, failures) is kept on the host.
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
  """All that a run needs to resume after an epoch; a sweep's leaves lead with `[W]`."""

  stage: int
  epoch: int  # completed epochs of this stage
  state: base.Tree
  best: base.Tree  # the state at the best validation so far
  best_value: np.ndarray  # [] or [W]
  best_epoch: np.ndarray  # [] or [W], 0 before the first validation
  failed: np.ndarray  # [] or [W] bool, diverged
  done: tuple  # final states of the stages before


class Report(NamedTuple):
  """Metrics of an epoch, on the host."""

  stage: str
  epoch: int
  epochs: int
  metrics: dict[str, np.ndarray]  # [] or [W]; means, but the sum of `ratings`
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
    key: a random key, shared by the members of a sweep; or `[W]` keys, where
      data, valid and shown lead with `[W]` too (`data.device.stack`).
    data: the training data.
    hyper: the model's `Hyper`; leaves `[]`, or `[W]` for a sweep.
    epochs: the limit of every stage, or one for each.
    valid: queries as `.source` and `.target`; without, last epochs are kept.
    shown: the data that validated predictions read; the training data by default.
    measure: `(score, data, queries) -> []`, lower is better. The evaluated
      domain is always `data.target`: a stage that is validated on the source
      is measured on the mirrored pair.
    patience: epochs without a better value after which a member stops; at least
      `every`.
    every: epochs between validations; the last epoch is always validated.
    progress: where to resume; its arrays are donated.
    watch: called after every epoch, and with None when a stage begins. The
      arrays of its `Progress` are deleted when the next epoch ends.

  Returns:
    The progress at the end of the last stage; `model.predict` takes its `best`.

  Raises:
    Diverged: the loss of a single run is not finite. Members of a sweep are
      marked as `failed` instead.
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
  if jax.config.read('jax_enable_x64'):
    raise ValueError(
      'models are trained in 32 bits, and JAX_ENABLE_X64 is set; unset it, or'
      ' call fit within `jax.enable_x64(False)`'
    )
  hyper = _alike(hyper)
  limits = _per_stage(epochs, model.stages)
  key, data, valid, shown = placement.place(
    _members(key, hyper), (key, data, valid, shown), key.ndim > 0
  )
  shown = data if shown is None else shown
  if progress is None:
    progress = begin(model, key, data, hyper, 0, ())
    watch(None, progress)
  while True:
    stage, limit = model.stages[progress.stage], limits[progress.stage]
    validated = selects(stage, valid)
    while progress.epoch < limit and not _all_stopped(progress, patience):
      started = time.perf_counter()
      progress, metrics = _train(stage, progress, key, data, hyper, patience)
      if stage.inspect is not None:
        metrics |= _inspect(stage, _over(progress, key), key, progress.state, data)
      value = None
      if validated and (progress.epoch % every == 0 or progress.epoch == limit):
        progress, value = _select(stage, measure, progress, key, shown, valid, patience)
      report = Report(
        stage.name,
        progress.epoch,
        limit,
        jax.device_get(metrics),
        value,
        progress.best_value,
        progress.best_epoch,
        time.perf_counter() - started,
      )
      watch(report, progress)
    if not validated:
      progress = progress._replace(best=stage.keep(progress.state))
    if progress.stage + 1 == len(model.stages):
      return progress
    done = (*progress.done, progress.best)
    after = begin(model, key, data, hyper, progress.stage + 1, done)
    progress = after._replace(failed=progress.failed)
    watch(None, progress)


def begin(
  model: base.Model,
  key: base.Array,
  data: base.Arrays,
  hyper: Any,
  stage: int,
  done: tuple,
) -> Progress:
  """The progress of a stage before its first epoch."""
  members = _members(key, hyper)
  over = placement.over(members, done, key)
  state, best = _init(
    model.stages[stage], over, _fold(key, stage, 0), data, hyper, done
  )
  shape = placement.shape(members)
  return Progress(
    stage,
    0,
    state,
    best,
    np.full(shape, np.inf, np.float32),
    np.zeros(shape, np.int32),
    np.zeros(shape, bool),
    done,
  )


def _alike(hyper):
  """Arrays of one shape: a value that all members share is repeated."""
  leaves, tree = jax.tree.flatten(hyper)
  leaves = [np.asarray(leaf, jnp.result_type(leaf)) for leaf in leaves]
  return tree.unflatten(np.broadcast_arrays(*leaves))


def _members(key, hyper):
  """A tree whose leaves are `[]` for one run and `[W]` for a sweep."""
  return key if key.ndim else hyper


def abstract(
  model: base.Model, key: base.Array, data: base.Arrays, hyper: Any, stage: int
) -> Progress:
  """Shapes and dtypes of a stage's progress, to restore a checkpoint into."""
  done = ()
  for index in range(stage):
    done = (*done, abstract(model, key, data, hyper, index).best)

  def arrays(key, data, hyper, done):
    progress = begin(model, key, data, hyper, stage, done)
    return progress._replace(stage=None, epoch=None)

  shapes = jax.eval_shape(arrays, key, data, hyper, done)
  sharding = placement.sharding(_members(key, hyper))
  shapes = jax.tree.map(lambda leaf: leaf.update(sharding=sharding), shapes)
  return shapes._replace(stage=stage, epoch=0)


def _over(progress, key):
  return placement.over(progress.failed, progress.state, key)


def selects(stage: base.Stage, valid: Any):
  """Whether the stage predicts a domain that has validation data."""
  return (
    stage.predict is not None
    and valid is not None
    and getattr(valid, stage.domain) is not None
  )


def _train(stage, progress, key, data, hyper, patience) -> tuple[Progress, dict]:
  """The progress after one more epoch, and its metrics on the host."""
  epoch = progress.epoch + 1
  running = ~(_stopped(progress, patience) | progress.failed)
  state, metrics, broken = run_epoch(
    stage,
    progress.state,
    _fold(key, progress.stage, epoch),
    data,
    hyper,
    running,
    over=_over(progress, key),
  )
  metrics, broken = jax.device_get((metrics, broken))
  failed = progress.failed | (running & (broken >= 0))
  if failed.ndim == 0 and failed:
    raise Diverged(
      f'stage {stage.name}: the loss is not finite in epoch {epoch}, step'
      f' {int(broken) + 1}; try a smaller learning rate (hyper.lr)'
    )
  return progress._replace(epoch=epoch, state=state, failed=failed), metrics


def _select(
  stage, measure, progress, key, shown, valid, patience
) -> tuple[Progress, np.ndarray]:
  """Validates, and keeps the states that are the best so far."""
  value = validate(
    stage, measure, _over(progress, key), key, progress.state, shown, valid
  )
  value = jax.device_get(value)
  # The epoch that has just ended does not count as waiting.
  before = progress._replace(epoch=progress.epoch - 1)
  running = ~_stopped(before, patience) & ~progress.failed
  better = (value < progress.best_value) & running
  if np.any(better):
    progress = progress._replace(
      best=_choose(better, stage.keep(progress.state), progress.best),
      best_value=np.where(better, value, progress.best_value),
      best_epoch=np.where(better, np.int32(progress.epoch), progress.best_epoch),
    )
  return progress, value


def _stopped(progress, patience):
  """Whether each member has waited `patience` epochs since its best value."""
  if patience is None:
    return np.zeros_like(progress.failed)
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


@jax.jit
def _fold(key, stage, epoch):
  """The key, or each of `[W]` keys, of an epoch."""

  def fold(key):
    return jax.random.fold_in(jax.random.fold_in(key, stage), epoch)

  return jax.vmap(fold)(key) if key.ndim else fold(key)


@functools.partial(jax.jit, static_argnames=('stage', 'over'))
@precision.full
def _init(stage, over, key, data, hyper, done):
  """The first state of a stage, and a copy of what it keeps."""

  def init(hyper, done, key, data):
    return stage.init(key, data, hyper, done)

  own, shared = (
    ((hyper, done, key, data), ()) if key.ndim else ((hyper, done), (key, data))
  )
  state = placement.each(init, over, own, shared)
  return state, jax.tree.map(jnp.copy, stage.keep(state))


@functools.partial(jax.jit, static_argnames=('stage', 'over'), donate_argnames='state')
@precision.full
def run_epoch(
  stage: base.Stage,
  state: base.Tree,
  key: base.Array,
  data: base.Arrays,
  hyper: Any,
  running: Any,
  *,
  over: Callable = placement.alone,
):
  """All steps of one epoch: state, metrics, first broken step or -1.

  Args:
    stage: to train.
    state: of one run or of W members; donated.
    key: of the epoch; `[W]` where each member has its own, and its own data.
    data: training data.
    hyper: of the model.
    running: `[]` or `[W]` bool; members that are mapped in turn and have stopped
      are skipped.
    over: how members are mapped, as from `placement.over`.

  Returns:
    The state, the metrics, and the number of the first step whose loss is not
    finite, or -1.
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
    if over is placement.in_turn:
      return unless_stopped(running, *of_epoch)
    return epoch(*of_epoch)

  def planned(running, state, hyper, key, data):
    return member(running, state, hyper, data, *plan(key, data))

  own = running, state, hyper
  if key.ndim:
    return placement.each(planned, over, (*own, key, data), ())
  return placement.each(member, over, own, (data, *plan(key, data)))


@functools.partial(jax.jit, static_argnames=('stage', 'over'))
@precision.full
def _inspect(stage, over, key, state, data):
  return _of_state(stage.inspect, over, key, state, (data,))


@functools.partial(jax.jit, static_argnames=('stage', 'measure', 'over'))
@precision.full
def validate(
  stage: base.Stage,
  measure: Measure,
  over: Callable,
  key: base.Array,
  state: base.Tree,
  data: base.Arrays,
  valid: Any,
):
  def value(state, data, queries):
    facing = data.mirrored() if stage.domain == 'source' else data
    return measure(stage.predict(state, data), facing, queries)

  queries = getattr(valid, stage.domain)
  return _of_state(value, over, key, state, (data, queries))


def _of_state(function, over, key, state, given):
  """`function(state, *given)` of each member; given is its own where keys are."""
  own, shared = ((state, *given), ()) if key.ndim else ((state,), given)
  return placement.each(function, over, own, shared)


@functools.partial(jax.jit, donate_argnames='otherwise')
def _choose(better, state, otherwise):
  def choose(new, old):
    shape = better.shape + (1,) * (new.ndim - better.ndim)
    return jnp.where(better.reshape(shape), new, old)

  return jax.tree.map(choose, state, otherwise)
