"""A spec and the methods beside it -> their runs, on the same splits and terms."""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from xdomain.reporting import terminal
from xdomain.runs import methods, prepare, protocols, run, store, sweeps
from xdomain.runs import spec as specs


class Finished(NamedTuple):
  """A run that has ended."""

  spec: specs.Spec
  folder: pathlib.Path
  records: list[dict]


def specs_of(config: Mapping[str, Any]) -> tuple[specs.Spec, list[specs.Spec]]:
  """The spec of a config, and those of the configs beside it on its terms."""
  own = specs.from_config(config)
  beside = map(specs.from_config, config.get('beside', {}).values())
  return own, [specs.on_the_terms_of(other, own) for other in beside]


def run_all(
  spec: specs.Spec,
  beside: list[specs.Spec],
  workdir: pathlib.Path,
  display: terminal.Terminal,
  seconds: float = 15.0,
) -> list[Finished]:
  """Trains the specs beside a spec, then its own, for all seeds and swept values.

  Args:
    spec: of one run or of a sweep.
    beside: specs on its terms.
    workdir: of the run folders.
    display: prints the data, progress and finished runs.
    seconds: between checkpoints.
  """
  methods.check(spec)
  workdir.mkdir(parents=True, exist_ok=True)
  first, *others = specs.by_seed(spec)

  def prepared_for(of_seed):
    if of_seed.seed != first.seed:  # The same data, which was printed for the first.
      return prepare.prepare(of_seed, lambda line: None)
    prepared = prepare.prepare(of_seed, display.say)
    display.data(prepared.dataset)
    return prepared

  done = []
  folder = store.folder_of(spec, workdir, 'sweep')
  for turn, several in sweeps.turns(spec, prepared_for, folder):
    own = sweeps.parts(turn, several, folder)
    parts = [
      part
      for other in beside
      for part in sweeps.parts(specs.on_the_terms_of(other, turn), several, folder)
    ]
    parts += own
    for each, data in parts:
      run.check(each, data[0])
    alone = len(own) == 1 and not others
    count = 1 if alone else len(parts) * -(-(1 + len(others)) // len(several))
    for each, data in parts:
      done.append(_run(each, data, workdir, display, len(done), count, seconds))
  return done


def _run(spec, data, workdir, display, part, parts, seconds):
  folder = store.folder_of(spec, workdir)
  finished = (folder / 'records.jsonl').exists()
  value = protocols.of(spec).value
  with display.training(spec.name, value, part, parts) as watch:
    records = run.run(spec, data, folder, watch=watch, seconds=seconds, say=display.say)
  if finished:
    display.say(
      f'{spec.name}: from its records of {records[0]["time"]}; to train it again,'
      f' delete {folder} or use another workdir'
    )
  if len(records) == 1:
    note = protocols.unlearnt(spec.name, data[0].split, records[0])
    if note:
      display.say(note)
  return Finished(spec, folder, records)
