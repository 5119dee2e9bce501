"""Trains, evaluates and records a `Spec` in its folder."""

import contextlib
import functools
import pathlib
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xdomain import base, shards
from xdomain.data import device, sources, types
from xdomain.runs import (
  cost,
  devices,
  hosts,
  memory,
  methods,
  protocols,
  sharing,
  stop,
  store,
  trained,
)
from xdomain.runs import prepare as preparing
from xdomain.runs import spec as specs
from xdomain.training import loop, placement

SOON = 60.0  # Seconds of training that need no announcement.
Watch = Callable[[loop.Report], object]


def run(
  spec: specs.Spec,
  prepared: preparing.Prepared | list[preparing.Prepared],
  folder: str | pathlib.Path,
  *,
  watch: Watch,
  seconds: float = 15.0,
  test: bool = True,
  say: preparing.Say = lambda line: None,
) -> list[dict]:
  """Trains, evaluates and records a spec; an unfinished run is resumed.

  Args:
    spec: of one method.
    prepared: its data, in any view; one for each of several seeds.
    folder: of the run.
    watch: called with each epoch's `Report`.
    seconds: between checkpoints.
    test: False leaves the test fold alone, as the trials of a search do.
    say: called with lines about memory, time and waiting for another process.

  Returns:
    A record for each member; all of the first seed, then all of the next.

  Raises:
    Diverged: the run has no member left, and is not a sweep; it leaves a record,
      and is raised again from it.
    SpecError: the spec cannot be trained on this data.
  """
  with hosts.own_folder(pathlib.Path(folder)) as own:
    return _run(spec, prepared, pathlib.Path(folder), own, watch, seconds, test, say)


def _run(spec, prepared, shared, folder, watch, seconds, test, say):
  several = prepared if isinstance(prepared, list) else [prepared]
  records = store.records(shared, several)
  if records:
    return _not_diverged(spec, records)
  several, method = _seen_and_method(spec, several)
  with store.lock(folder, say):
    records = store.records(folder, several)  # Of a process that was waited for.
    if records:
      return _not_diverged(spec, records)
    about = [
      store.about(of_seed, each.hashes)
      for of_seed, each in zip(specs.by_seed(spec), several, strict=True)
    ]
    with fitting(spec):
      first = several[0]
      measure = protocols.of(spec).measure(first.dataset, method.model)
      valid = protocols.validation(first)
      method = devices.placed(spec, method, first.data, valid, measure, say)
    resumed = (shared / 'checkpoint').exists()
    used = {}
    try:
      with fitting(spec), stop.deferred(), cost.measured(used):
        progress = _train(
          spec, several, method, folder, shared, about, watch, seconds, say
        )
    except loop.Diverged as error:
      _record_failure(spec, method, folder, about, str(error))
      return _not_diverged(spec, store.records(folder, several))
    seeds = _seed_of(method, several)
    members = [
      evaluate(spec, several[at], method, progress, index, test)
      for index, at in enumerate(seeds)
    ]
    if resumed:  # Only the last part was measured.
      used = dict.fromkeys(used)
    spent = store.spent(folder) | used
    records = [
      {'hyper': hyper, **measures, **about[at], **spent}
      for hyper, (measures, _), at in zip(method.members, members, seeds)
    ]
    if test:
      answers = [answer for _, answer in members if answer is not None]
      store.save_test(folder, answers, apart=len(several) > 1)
    if test and not specs.is_sweep(spec):
      state = shards.gathered(progress.best_of())  # Every process has its part in it.
      _save(spec, several[0], folder, state, members[0][0])
    store.write_records(folder, records)
  return store.records(folder, several)


@sharing.once
def _save(spec, prepared, folder, state, measures):
  """Saves the `Trained` method of a finished run, which recommends."""
  split, dataset = prepared.split, prepared.dataset
  *before, last = store.chosen_epochs(folder, spec)
  trained.Trained(
    spec,
    dataset,
    split.train if split.shown is None else split.shown,
    state,
    (*before, measures['epoch'] or last),
    trained.seen_interactions(dataset, sources.rated(**spec.data)),
    measures,
  ).save(folder / store.ARTIFACT)


def _seed_of(method, several):
  """`[W]` which of several splits is a member's."""
  members = len(method.members)
  return np.arange(members) // (members // len(several))


def _record_failure(spec, method, folder, about, why):
  """Records a run whose members all diverged, so that it is not tried again."""
  nothing = {protocols.of(spec).valid: None, 'epoch': 0, 'failed': True}
  common = nothing | {'diverged': why} | store.spent(folder)
  records = [
    {'hyper': hyper, **common, **about[at]}
    for hyper, at in zip(method.members, _seed_of(method, about))
  ]
  store.write_records(folder, records)


def _not_diverged(spec, records):
  """The records, unless those of a single run say that it diverged."""
  if 'diverged' in records[0] and not specs.is_sweep(spec):
    raise loop.Diverged(records[0]['diverged'])
  return records


def check(spec: specs.Spec, prepared: preparing.Prepared) -> None:
  """Refuses a spec that cannot be trained on data, without training it.

  Raises:
    SpecError: as of `run`.
  """
  (prepared,), method = _seen_and_method(spec, [prepared])
  with fitting(spec):
    key = jax.random.key(0)
    at, *_ = loop.shapes(method.model, key, prepared.data, method.hyper)
  need = placement.size((at.state, at.best)) // len(method.members)
  room = memory.free() * jax.local_device_count()
  if need > room:
    raise specs.SpecError(
      f'{spec.method}: its state takes {need / 2**30:,.0f} GB, and {room / 2**30:,.0f}'
      ' GB are free; choose smaller sizes in model'
    )


def _seen_and_method(spec, several):
  """Splits in the spec's view, and the method that fits their sizes."""
  several = [preparing.seen_by(spec, each) for each in several]
  method = methods.of(spec, several[0].sizes)
  check_view(spec, method)
  return several, method


@contextlib.contextmanager
def fitting(spec: specs.Spec):
  """Names the method that the data is not fit for."""
  try:
    yield
  except base.Unfit as error:
    raise specs.SpecError(f'{spec.method}: {error}') from None


def check_view(spec: specs.Spec, method: methods.Method) -> None:
  """Refuses a view that a method cannot learn from."""
  if spec.view == 'apart' and not method.model.several_sources:
    raise specs.SpecError(
      f"{spec.method} takes one source: view='both' gives it all of them as one"
    )
  blind = method.model.target_only and spec.view != 'merged'
  if blind and spec.protocol == 'cold_start':
    raise specs.SpecError(
      f'{spec.method} learns about users from the target domain alone, and'
      " protocol='cold_start' tests users without interactions there;"
      " view='merged' gives it their interactions in the source"
    )


def _train(spec, several, method, folder, shared, about, watch, seconds, say):
  given = give(spec, several, method)
  progress = restore(spec, several, method, shared, given)
  store.write_about(folder, spec, about)
  log = store.Log(folder, spec, progress)
  save = functools.partial(
    store.save_checkpoint, shared, identity=store.checkpoint_identity(spec, several)
  )
  due = took = 0.0

  def after(report, progress):
    nonlocal due, took
    if report is not None:
      log.write(progress.stage, report)
      watch(report)
      _say_time(report, say)
    started = time.monotonic()
    # A signal would not wait for such an epoch.
    long = report is not None and report.seconds > max(stop.GRACE, 10 * took)
    late = report is None or long or started >= due
    stopping, saving = hosts.any_of(stop.requested(), late)
    if saving or stopping:
      save(progress)
      took = time.monotonic() - started
      # Large states are saved less often: at most a twentieth of the time.
      due = time.monotonic() + (max(seconds, 20 * took) if seconds else 0)
    if stopping:
      raise stop.Stopped

  progress = loop.fit(
    method.model,
    given.key,
    given.data,
    method.hyper,
    epochs=spec.epochs,
    valid=given.valid,
    shown=given.shown,
    measure=protocols.of(spec).measure(several[0].dataset, method.model),
    patience=spec.patience,
    every=spec.every,
    axes=method.axes,
    progress=progress,
    watch=after,
  )
  save(progress)
  log.close()
  return progress


def _say_time(report, say):
  """Says how long a stage may take; its first epoch compiles, so the second tells."""
  seconds = report.seconds * (report.epochs - 2)
  if report.epoch == 2 and seconds >= SOON:
    minutes = round(seconds / 60)
    say(
      f'{report.stage}: {report.seconds:.3g} s an epoch, so at most {minutes}'
      f' minute{"s" * (minutes > 1)} for the other {report.epochs - 2}'
    )


class ChosenEpochs:
  """Watches training, and keeps the epoch that was chosen of each stage.

  That is the one with the best validation value, or the last where there is none.
  """

  def __init__(self, watch: Watch | None = None):
    self._watch = watch
    self._chosen = {}

  def __call__(self, report, progress) -> None:
    if report is None:
      return
    best = int(report.best_epoch[0])
    self._chosen[progress.stage] = best or report.epoch
    if self._watch is not None:
      self._watch(report)

  @property
  def epochs(self) -> tuple[int, ...]:
    return tuple(self._chosen.values())


class Given(NamedTuple):
  """The data arguments of `loop.fit`."""

  key: base.Array
  data: base.Arrays
  valid: types.PerDomain
  shown: base.Arrays | None


def give(
  spec: specs.Spec, several: list[preparing.Prepared], method: methods.Method
) -> Given:
  """The data of one split, or of each member's."""
  keys = [jax.random.key(each.seed) for each in specs.by_seed(spec)]
  if not spec.sweep.seed:
    (one,) = several
    return Given(keys[0], one.data, protocols.validation(one), one.shown)
  each = _seed_of(method, several)
  given = [several[at] for at in each]
  return Given(jnp.stack(keys)[each], *_stacked(given))


@sharing.once
def _stacked(given):
  return device.stack([(of.data, protocols.validation(of), of.shown) for of in given])


def restore(
  spec: specs.Spec,
  several: list[preparing.Prepared],
  method: methods.Method,
  folder: str | pathlib.Path,
  given: Given,
) -> loop.Progress | None:
  """The progress of the run in a folder; None where there is no checkpoint."""
  return store.restore(folder, spec, several, method, given.key, given.data)


def evaluate(
  spec: specs.Spec,
  prepared: preparing.Prepared,
  method: methods.Method,
  progress: loop.Progress,
  index: int,
  test: bool,
) -> tuple[dict, protocols.Answer | None]:
  """One member's measures, and its answer to the test queries if `test`."""
  state, epoch = progress.best_of(index), progress.best_epoch[index]
  if not epoch:  # It diverged before it was ever validated.
    state = jax.tree.map(_unknown, state)
  protocol = protocols.of(spec)
  params = jax.eval_shape(shards.whole, getattr(state, 'params', state))
  measures = {
    protocol.valid: protocol.value(float(progress.best_value[index])),
    'epoch': int(epoch),
    'failed': bool(progress.failed[index]),
    'parameters': sum(leaf.size for leaf in jax.tree.leaves(params)),
  }
  if not test:
    return measures | protocol.choice(prepared, method.model, state), None
  answer = protocol.answer(prepared, method.model, state)
  return measures | answer.measures, answer


def _unknown(leaf):
  """NaN in place of every number that can be NaN."""
  if jnp.issubdtype(leaf.dtype, jnp.inexact):
    return jnp.full_like(leaf, jnp.nan)
  return leaf
