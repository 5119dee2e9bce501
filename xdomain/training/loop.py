"""One loop for every method: it trains the W members of a run, often a single one.

`fit` compiles one epoch of each stage, a `lax.scan` of steps, and loops over epochs
in Python. Members share key and batches, so that their difference is due to the
hyper-parameters; or each has its own key and data, as runs of several seeds do.

Keys are folded from (stage, epoch): any epoch can be repeated, and a run that
resumes from a `Progress` ends as the uninterrupted one would have. Values that decide
the course of a run (best values, epochs, failures) are kept on the host.
"""

import concurrent.futures
import functools
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xdomain import base, precision, shards
from xdomain.training import placement


class Progress(NamedTuple):
  """The values that a run needs to resume after an epoch; `[W, ...]` of each member."""

  stage: int
  epoch: int  # completed epochs of this stage
  state: base.Tree
  best: base.Tree  # the state at the best validation so far
  best_value: np.ndarray  # [W]
  best_epoch: np.ndarray  # [W], 0 before the first validation
  failed: np.ndarray  # [W] bool, diverged
  done: tuple  # final states of the stages before

  def best_of(self, member: int = 0) -> base.Tree:
    """The best state of one member, as `model.predict` takes it."""
    if shards.any_of(self.best):
      return shards.member(self.best, member)
    return jax.device_put(
      jax.tree.map(lambda leaf: leaf[member], shards.fetch(self.best))
    )


class Report(NamedTuple):
  """Metrics of an epoch, `[W]` on the host."""

  stage: str
  epoch: int
  epochs: int
  metrics: dict[str, np.ndarray]  # means over steps; the sum of `ratings`
  value: np.ndarray | None  # validation error, if this epoch was validated
  best_value: np.ndarray
  best_epoch: np.ndarray
  seconds: float


class Diverged(ArithmeticError):
  """A loss that is not finite."""


Measure = Callable[[base.Score, base.Arrays, base.Queries], tuple[base.Array, Any]]


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
  axes: shards.Axes = shards.ONE,
  progress: Progress | None = None,
  watch: Callable[[Report | None, Progress], None] = lambda report, at: None,
) -> Progress:
  """Trains all stages of a model.

  Args:
    model: the model.
    key: a random key for all members; or `[W]` keys, where data, valid and shown
      lead with `[W]` too (`data.device.stack`).
    data: the training data.
    hyper: the model's `Hyper`; leaves `[]`, or `[W]` for a sweep.
    epochs: the limit of every stage that trains, or one for each stage.
    valid: queries as `.source` and `.target`; without, last epochs are kept.
    shown: the data that validated predictions read; the training data by default.
    measure: `(score, data, queries) -> ([], answers)`, of which the first is the
      validation error, lower is better. The evaluated domain is always
      `data.target`: a stage that is validated on the source is measured on the
      mirrored pair.
    patience: epochs without a better value after which a member stops; at least
      `every`. A stage that only chooses makes all of its choices.
    every: epochs between validations; the last epoch is always validated, and so
      is every choice.
    axes: of the mesh; by default every member has one device.
    progress: where to resume; its arrays are donated.
    watch: called after every epoch, and with None when a stage begins. The
      arrays of its `Progress` are deleted when the next epoch ends.

  Returns:
    The progress at the end of the last stage; `model.predict` takes its `best_of()`.

  Raises:
    Diverged: no member is left whose loss is finite. While others train, a member
      that diverges is marked as `failed`.
  """
  _check(key, valid, measure, patience, every)
  limits = _per_stage(epochs, model.stages)
  plan = placement.plan(key, hyper, data, axes)
  key, data, valid, shown = plan.place((key, data, valid, shown))
  shown = data if shown is None else shown
  if progress is None:
    progress = begin(model, key, data, hyper, (), axes)
    watch(None, progress)
  hyper = plan.per_member(hyper)
  # Of a run that is resumed at the end of a stage, that of the next.
  first = progress.stage + int(progress.epoch >= limits[progress.stage])
  _compile(plan, model, key, data, hyper, valid, shown, measure, first)
  while True:
    stage, limit = model.stages[progress.stage], limits[progress.stage]
    queries = validated(stage, valid)
    while progress.epoch < limit:
      stopped = not stage.choices and _ran_out(progress, patience)
      running = ~(stopped | progress.failed)
      if not np.any(running):
        break
      started = time.perf_counter()
      progress, metrics = _train(plan, stage, progress, running, key, data, hyper)
      value = None
      due = stage.choices or progress.epoch % every == 0 or progress.epoch == limit
      if queries and due:
        value = _measured(plan, stage, progress, measure, shown, queries)
        progress = _select(stage, progress, running, value)
      best = progress.best_value, progress.best_epoch
      seconds = time.perf_counter() - started
      at = stage.name, progress.epoch, limit
      watch(Report(*at, metrics, value, *best, seconds), progress)
    if not queries:
      progress = progress._replace(best=stage.keep(progress.state))
    if progress.stage + 1 == len(model.stages):
      return progress
    done = (*progress.done, progress.best)
    after = begin(model, key, data, hyper, done, axes)
    progress = after._replace(failed=progress.failed)
    watch(None, progress)


def begin(
  model: base.Model,
  key: base.Array,
  data: base.Arrays,
  hyper: Any,
  done: tuple,
  axes: shards.Axes = shards.ONE,
) -> Progress:
  """The progress of a stage before its first epoch, after the stages in `done`."""
  plan, stage = placement.plan(key, hyper, data, axes), len(done)
  hyper = plan.per_member(hyper)
  state, best = _init(plan, model.stages[stage], key, stage, data, hyper, done)
  value = np.full(plan.width, np.inf, np.float32)
  epoch, failed = np.zeros(plan.width, np.int32), np.zeros(plan.width, bool)
  return Progress(stage, 0, state, best, value, epoch, failed, done)


def shapes(
  model: base.Model,
  key: base.Array,
  data: base.Arrays,
  hyper: Any,
  axes: shards.Axes = shards.ONE,
) -> list[Progress]:
  """Shapes, dtypes and sharding of the progress of each stage; nothing is computed."""
  plan, found = placement.plan(key, hyper, data, axes), []

  def arrays(key, data, done):
    progress = begin(model, key, data, hyper, done, axes)
    return progress._replace(stage=None, epoch=None)

  for index in range(len(model.stages)):
    done = tuple(each.best for each in found)
    of_stage = jax.eval_shape(arrays, key, data, done)
    placed = jax.tree.map(
      lambda leaf, at: leaf.update(sharding=at), of_stage, plan.sharding(of_stage)
    )
    found.append(placed._replace(stage=index, epoch=0))
  return found


def validated(stage: base.Stage, valid: Any) -> base.Queries | None:
  """The validation queries of the domain that a stage predicts, if there are any."""
  if stage.predict is None or valid is None:
    return None
  return getattr(valid, stage.domain)


def _check(key, valid, measure, patience, every):
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


def _per_stage(epochs, stages):
  if isinstance(epochs, int):
    return tuple(stage.choices or epochs for stage in stages)
  epochs = tuple(epochs)
  if len(epochs) != len(stages):
    names = ', '.join(stage.name for stage in stages)
    raise ValueError(
      f'{len(epochs)} numbers of epochs for {len(stages)} stages ({names});'
      ' give one number, or one for each'
    )
  return epochs


def _ran_out(progress, patience):
  """`[W]` whether a member has waited `patience` epochs since its best value."""
  if patience is None:
    return np.zeros_like(progress.failed)
  waited = progress.epoch - progress.best_epoch
  return (progress.best_epoch > 0) & (waited >= patience)


def _train(
  plan, stage, progress, running, key, data, hyper
) -> tuple[Progress, dict[str, np.ndarray]]:
  """The progress after one more epoch, and its metrics on the host."""
  epoch = progress.epoch + 1
  at = progress.stage, epoch
  state, *on_device = run_epoch(plan, stage, progress.state, key, at, data, hyper)
  metrics, broken = shards.fetch(on_device)
  failed = progress.failed | (running & (broken >= 0))
  if np.all(failed):
    raise Diverged(
      f'stage {stage.name}: the loss is not finite in epoch {epoch}, step'
      f' {np.max(broken) + 1}; try a smaller learning rate (hyper.lr)'
    )
  return progress._replace(epoch=epoch, state=state, failed=failed), metrics


def _measured(plan, stage, progress, measure, shown, queries) -> np.ndarray:
  """`[W]` the validation error of each member, on the host."""
  kept = stage.keep(progress.state)
  values, _ = validate(plan, stage, measure, kept, shown, queries)
  return shards.fetch(values)


def _select(stage, progress, running, value) -> Progress:
  """Keeps the states of the members whose validation value is the best so far."""
  better = (value < progress.best_value) & running & ~progress.failed
  if not np.any(better):
    return progress
  return progress._replace(
    best=_choose(better, stage.keep(progress.state), progress.best),
    best_value=np.where(better, value, progress.best_value),
    best_epoch=np.where(better, np.int32(progress.epoch), progress.best_epoch),
  )


# --- Programs ---------------------------------------------------------------


def _bare(leaf):
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, weak_type=leaf.weak_type)


def _compile(plan, model, key, data, hyper, valid, shown, measure, first):
  """Compiles the programs of all stages from the first on, side by side."""
  begins = shapes(model, key, data, hyper, plan.axes)[first:]
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    compiling = []
    for at, stage in zip(begins, model.stages[first:]):
      rest = key, (at.stage, 1), data, hyper
      if plan.mesh() is None:  # Of a single device jax expects no sharding.
        at = jax.tree.map(_bare, at._replace(stage=None, epoch=None))
      lowered = [run_epoch.lower(plan, stage, at.state, *rest)]
      if queries := validated(stage, valid):
        lowered.append(validate.lower(plan, stage, measure, at.best, shown, queries))
      compiling += [pool.submit(each.compile) for each in lowered]
    for each in compiling:
      each.result()


@functools.partial(jax.jit, static_argnames='stage', donate_argnames='state')
@precision.full
def epoch(
  stage: base.Stage,
  state: base.Tree,
  key: base.Array,
  data: base.Arrays,
  hyper: Any,
) -> tuple[base.Tree, dict, base.Array]:
  """All steps of an epoch of one member.

  Args:
    stage: the stage.
    state: before the epoch; donated.
    key: of the epoch.
    data: the training data.
    hyper: the model's `Hyper`, leaves `[]`.

  Returns:
    The state, the metrics, and the number of the first step whose loss is not
    finite, or -1.
  """
  key_visits, key_steps = jax.random.split(key)
  visits = shards.split(stage.epoch(key_visits, data))

  def step(state, numbered):
    number, visit = numbered
    visit = shards.visited(visit)
    return stage.step(state, visit, data, jax.random.fold_in(key_steps, number), hyper)

  n = jax.tree.leaves(visits)[0].shape[0]
  state, metrics = jax.lax.scan(step, state, (jnp.arange(n), visits))
  wrong = ~jnp.isfinite(metrics.get('loss', jnp.zeros(n)))
  broken = jnp.where(jnp.any(wrong), jnp.argmax(wrong), -1)
  means = {
    name: (jnp.sum if name == 'ratings' else jnp.mean)(values, dtype=jnp.float32)
    for name, values in metrics.items()
  }
  return state, means, broken


@functools.partial(jax.jit, static_argnames=('plan', 'stage'), donate_argnames='state')
@precision.full
def run_epoch(
  plan: placement.Plan,
  stage: base.Stage,
  state: base.Tree,
  key: base.Array,
  at: tuple[int, int],
  data: base.Arrays,
  hyper: Any,
) -> tuple[base.Tree, dict, base.Array]:
  """`epoch` of each member, and what the stage inspects; `at` is (stage, epoch)."""

  def member(state, hyper, key, data):
    state, metrics, broken = epoch(stage, state, key, data, hyper)
    if stage.inspect is not None:
      metrics |= stage.inspect(state, data)
    return state, metrics, broken

  return placement.each(plan, member, (state, hyper), (_folded(key, *at), data))


@functools.partial(jax.jit, static_argnames=('plan', 'stage'))
@precision.full
def _init(plan, stage, key, index, data, hyper, done):
  """The first state of a stage, and a copy of the part that is kept."""

  def member(hyper, done, key, data):
    return stage.init(key, data, hyper, done)

  given = _folded(key, index, 0), data
  state = placement.each(plan, member, (hyper, done), given)
  return state, jax.tree.map(jnp.copy, stage.keep(state))


def _folded(key, stage, epoch):
  """The key, or each of `[W]` keys, of an epoch."""

  def fold(key):
    return jax.random.fold_in(jax.random.fold_in(key, stage), epoch)

  return jax.vmap(fold)(key) if key.ndim else fold(key)


@functools.partial(jax.jit, static_argnames=('plan', 'stage', 'measure'))
@precision.full
def validate(
  plan: placement.Plan,
  stage: base.Stage,
  measure: Measure,
  state: base.Tree,
  data: base.Arrays,
  queries: base.Queries,
) -> tuple[base.Array, Any]:
  """The measure of each member's predictions: `[W]` errors and `[W, ...]` answers.

  The test asks by the same program: `state` is what `stage.keep` leaves.
  """

  def member(state, data, queries):
    facing = data.mirrored() if stage.domain == 'source' else data
    return measure(stage.predict(state, data), facing, queries)

  # Answers are no tables, however many they are.
  plan = plan._replace(lengths=frozenset())
  return placement.each(plan, member, (state,), (data, queries))


@functools.partial(jax.jit, static_argnames=('stage', 'measure'))
@precision.full
def answers(
  stage: base.Stage,
  measure: Measure,
  state: base.Tree,
  data: base.Arrays,
  queries: base.Queries,
) -> Any:
  """The answers of `validate` of one member, whose tables are in shards."""
  state, data = shards.whole((state, data))
  return measure(stage.predict(state, data), data, queries)[1]


@functools.partial(jax.jit, donate_argnames='otherwise')
def _choose(better, state, otherwise):
  def choose(new, old):
    return jnp.where(better.reshape(-1, *(1,) * (new.ndim - 1)), new, old)

  return jax.tree.map(choose, state, otherwise)
