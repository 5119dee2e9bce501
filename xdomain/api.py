"""The Python API: files -> a pair -> a split -> a trained method -> recommendations.

```python
import xdomain as xd

pair = xd.load_pair('films.csv', 'books.csv')
split = xd.leave_one_out(pair, seed=0)
trained = xd.fit('shared_vae', split)
print(trained.evaluate())
trained = xd.fit('shared_vae', pair, epochs=trained.epoch)
trained.save('books-for-film-lovers')
```
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from xdomain import shards
from xdomain.data import cache, splits, types
from xdomain.data.audit import audit
from xdomain.data.given import given, given_ratings, load_given
from xdomain.data.given import write as write_split
from xdomain.data.own import load_pair
from xdomain.data.splits import by_ratio, cold_start, leave_one_out, partial, positives
from xdomain.data.splits_by_time import (
  leave_last_out,
  rating_by_time,
  time_cold_start,
  time_split,
)
from xdomain.data.types import Split
from xdomain.runs import defaults, devices, methods, prepare, protocols, run, trained
from xdomain.runs import spec as specs
from xdomain.runs.trained import Recommendation, Trained
from xdomain.training import loop

__all__ = [
  'Comparison',
  'Recommendation',
  'Split',
  'Trained',
  'audit',
  'by_ratio',
  'cold_start',
  'compare',
  'fit',
  'given',
  'given_ratings',
  'leave_last_out',
  'leave_one_out',
  'load',
  'load_given',
  'load_pair',
  'partial',
  'positives',
  'rating_by_time',
  'time_cold_start',
  'time_split',
  'write_split',
]


# --- Training ---------------------------------------------------------------


def fit(
  method: str,
  data: Split | types.Dataset,
  *,
  model: dict[str, Any] | None = None,
  hyper: dict[str, float] | None = None,
  view: str | None = None,
  epochs: int | tuple[int, ...] | None = None,
  patience: int | None = None,
  every: int | None = None,
  seed: int | None = None,
  watch: Callable[[loop.Report], object] | None = None,
) -> Trained:
  """Trains a method on a split, or on all interactions of a pair.

  Settings that are not given are those of the packaged config of the method, chosen
  on MovieLens-1M; a method without one has the defaults of its module.

  Args:
    method: such as 'ials', 'darec_user' or 'shared_vae_cold': a module of
      `xdomain.models`, or a config with its variant.
    data: a split, whose validation fold chooses the epoch; or a pair, all of which
      is trained on for `epochs` epochs.
    model: settings that fix shapes.
    hyper: numbers in the loss.
    view: what of the pair the method is given: 'both', 'alone' (the target), 'merged'
      (both as one domain) or 'apart' (each of several sources on its own).
    epochs: at most so many, of each stage; for a pair those that validation chose,
      `Trained.epoch`.
    patience: epochs without a better validation value that end a stage.
    every: validate after every so many epochs.
    seed: of the training; by default that of the split.
    watch: called with each epoch's report.

  Raises:
    SpecError: a setting is unknown or wrong, or the data does not fit the method.
    Diverged: the loss is not finite.
  """
  spec = _spec(method, model, hyper, view, patience, every)
  if isinstance(data, Split):
    dataset, how = _origin(data)
    spec = dataclasses.replace(
      spec,
      protocol=how.protocol,
      split=how.options,
      data={'kind': 'pair', 'name': dataset.name},
      seed=how.seed if seed is None else seed,
    )
    if epochs is not None:
      spec = specs.replaced(spec, epochs=epochs)
    return _fit_split(specs.fitting_patience(spec), data, watch)
  if epochs is None:
    raise specs.SpecError(
      'epochs is missing: nothing is held out of a pair to choose it by; fit the'
      ' method to a split first and pass the `epoch` of what it returns'
    )
  dataset = data if protocols.of(spec).rates else positives(data)
  spec = dataclasses.replace(
    spec,
    data={'kind': 'pair', 'name': data.name},
    seed=seed or 0,
    epochs=epochs if isinstance(epochs, int) else max(epochs),
  )
  return fit_everything(spec, dataset, epochs, rated=data, watch=watch)


def _origin(split):
  """The data set of a split, and how it was made."""
  if split.dataset is None or split.how is None:
    raise specs.SpecError(
      'the split has no ids; split what load_pair returns instead of its `pair`'
    )
  return split.dataset, split.how


def _spec(method, model, hyper, view, patience, every):
  spec = defaults.spec_of(method)
  known = methods.module(spec.method)
  specs.check_names('hyper', hyper or {}, known.Hyper._fields, spec.method)
  settings = methods.settings(spec.method)
  specs.check_names('model', model or {}, settings, spec.method)
  given = dict(view=view, patience=patience, every=every)
  given = {name: value for name, value in given.items() if value is not None}
  return specs.replaced(spec, model=model or {}, hyper=hyper or {}, **given)


def _fit_split(spec, split, watch):
  protocol = protocols.of(spec)
  hashes = {'data': cache.digest(split.dataset), 'split': splits.digest(split)}
  prepared = prepare.of_split(split.dataset, split, protocol, spec.view, hashes)
  run.check(spec, prepared)
  chosen = run.ChosenEpochs(watch)
  with jax.enable_x64(False):
    method = methods.of(spec, prepared.sizes)
    measure = protocol.measure(split.dataset, method.model)
    valid = protocols.validation(prepared)
    method = devices.placed(spec, method, prepared.data, valid, measure)
    progress = loop.fit(
      method.model,
      jax.random.key(spec.seed),
      prepared.data,
      method.hyper,
      epochs=spec.epochs,
      valid=protocols.validation(prepared),
      shown=prepared.shown,
      measure=measure,
      patience=spec.patience,
      every=spec.every,
      axes=method.axes,
      watch=chosen,
    )
    measures, _ = run.evaluate(spec, prepared, method, progress, 0, True)
  train = split.train if split.shown is None else split.shown
  seen = trained.seen_interactions(split.dataset, split.given)
  return Trained(
    spec,
    split.dataset,
    train,
    shards.gathered(progress.best_of()),
    chosen.epochs,
    seen,
    measures,
  )


def fit_everything(
  spec: specs.Spec,
  dataset: types.Dataset,
  epochs: int | tuple[int, ...],
  *,
  rated: types.Dataset | None = None,
  watch: Callable[[loop.Report], object] | None = None,
) -> Trained:
  """Trains on all interactions of a pair, for epochs that were chosen before.

  Args:
    spec: of the method.
    dataset: ratings, or positives.
    epochs: of every stage, or of each.
    rated: the ratings that positives were chosen from.
    watch: called with each epoch's report.
  """
  sizes, data = prepare.everything(spec.view, dataset)
  method = methods.of(spec, sizes)
  run.check_view(spec, method)
  chosen = run.ChosenEpochs(watch)
  with jax.enable_x64(False), run.fitting(spec):
    method = devices.placed(spec, method, data)
    progress = loop.fit(
      method.model,
      jax.random.key(spec.seed),
      data,
      method.hyper,
      epochs=epochs,
      axes=method.axes,
      watch=chosen,
    )
  seen = trained.seen_interactions(dataset, rated)
  state = shards.gathered(progress.best_of())
  return Trained(spec, dataset, dataset.pair, state, chosen.epochs, seen, {})


def load(folder: str | pathlib.Path) -> Trained:
  """The trained method of an artefact that `Trained.save` or a run left.

  Raises:
    ArtifactError: the folder holds no artefact that this version reads.
  """
  return trained.load(folder)


# --- Comparisons ------------------------------------------------------------


class Comparison(NamedTuple):
  """Methods on one split."""

  fits: dict[str, Trained]  # by method, the best on validation first
  rows: list[dict[str, str]]  # a row a method, with its difference to the best
  notes: list[str]  # a line for each method that has not learnt

  @property
  def best(self) -> str:
    """The method that is best on validation; the test did not choose it."""
    return next(iter(self.fits))

  def __str__(self):
    names = list(self.rows[0])
    width = [max(len(n), *(len(row[n]) for row in self.rows)) for n in names]
    lines = [names, *(list(row.values()) for row in self.rows)]
    lines = [
      '  '.join(cell.ljust(n) for cell, n in zip(line, width)).rstrip()
      for line in lines
    ]
    return '\n'.join([*lines, *self.notes])


def compare(
  split: Split,
  names: Sequence[str],
  *,
  watch: Callable[[str], contextlib.AbstractContextManager] | None = None,
  **settings,
) -> Comparison:
  """Trains methods on one split, and how their tests differ.

  Args:
    split: of a pair.
    names: of methods, as `fit` takes them.
    watch: a method -> a context, whose value is called with each epoch's report.
    **settings: `epochs`, `patience`, `every` or `seed`, as `fit` takes them.

  Returns:
    The trained methods, and rows with the difference of each to the one that
    validation chose, and the 95 % interval of that by a paired bootstrap over users.
  """
  protocol = protocols.PROTOCOLS[_origin(split)[1].protocol]
  found = {}
  for method in dict.fromkeys(names):
    with watch(method) if watch else contextlib.nullcontext() as of_method:
      found[method] = fit(method, split, watch=of_method, **settings)

  def loss(name):
    value = found[name].measures[protocol.valid]
    return value if protocol.rates else -value

  found = {name: found[name] for name in sorted(found, key=loss)}
  answers = {name: _answers(each, split) for name, each in found.items()}
  best = next(iter(found))
  rows = []
  for name, each in found.items():
    row = {'method': name} | protocol.headline(each.measures)
    if name != best:
      for measure, gap, low, high in protocol.differences(answers[name], answers[best]):
        row[f'{measure} minus {best}'] = f'{gap:+.4f} ({low:+.4f} to {high:+.4f})'
    rows.append(row)
  columns = dict.fromkeys(column for row in rows for column in row)
  rows = [{c: row.get(c, '') for c in columns} for row in rows]
  notes = [
    protocols.unlearnt(name, split, each.measures) for name, each in found.items()
  ]
  return Comparison(found, rows, list(filter(None, notes)))


def _answers(model, split):
  """The answers of a trained method to the test queries."""
  protocol = protocols.of(model.spec)
  view = model.spec.view
  prepared = prepare.of_split(split.dataset, split, protocol, view, {})
  method = methods.of(model.spec, prepared.sizes)
  answer = protocol.answer(prepared, method.model, model.state)
  return answer.shared | answer.own
