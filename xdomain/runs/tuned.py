"""A search and a test of its choice, on each of several seeds."""

import math
import pathlib
from typing import Any

from xdomain import files
from xdomain.reporting import records as records_lib
from xdomain.reporting import tables, terminal
from xdomain.runs import methods, prepare, store, sweeps, tune
from xdomain.runs import spec as specs
from xdomain.training import loop


def on_seeds(
  config: specs.Spec,
  seeds: int,
  workdir: pathlib.Path,
  display: terminal.Terminal,
  keep: str = '',
) -> None:
  """Makes the search of each seed, prints its table, and tests its choice.

  Args:
    config: of a method; each seed is searched on a split of its own.
    seeds: their number; 0 searches on the seed of the config and tests nothing.
    workdir: the folder of run folders.
    display: shows progress and tables.
    keep: a folder of searches, in which the search is kept, or from which it is read.

  Raises:
    SpecError: the config is of a sweep.
    Diverged: the choice of a seed diverged; the other seeds are tested first.
  """
  methods.check(config)
  if specs.is_sweep(config) or sweeps.swept(config):
    raise specs.SpecError(
      'sweep is not for tuning: search holds the values that are tried'
    )
  for folder in filter(None, (workdir, keep)):
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
  tested = []
  for seed in range(seeds) or (config.seed,):
    of_seed = tune.on_seed(config, seed, range(seeds) or (config.seed,))
    prepared = prepare.prepare(of_seed, display.say)
    display.data(prepared.dataset)
    found = _found(of_seed, prepared, workdir, display, keep)
    if seeds:
      tested += _tested(of_seed, prepared, workdir, display, found)
  if tested:
    _report(config, tested, workdir, display, f'tuned{seeds}')


def _found(config, prepared, workdir, display, keep) -> dict[str, Any]:
  """The search of one seed, made or read."""
  found = keep and tune.kept(keep, config, prepared.hashes)
  title = f'{config.name}, seed {config.seed}'
  if found:
    display.say(f'{title}: the search is read from {keep}')
  else:
    found = tune.search(config, prepared, workdir, display)
    if keep:
      found = tune.keep(keep, config, found)
      display.say(f'{title}: the search is kept in {keep}')
  display.table(tune.rows(found))
  display.say(f'{title}: {tune.summary(found)}')
  return found


def _tested(config, prepared, workdir, display, found) -> list[dict]:
  """The records of the choice of a search."""
  chosen = tune.apply(config, found)
  folder = store.folder_of(chosen, workdir)
  try:
    records = sweeps.run_shown(chosen, prepared, folder, display)
  except loop.Diverged:  # Its record says so, and the other seeds are tested too.
    records = store.records(folder, [prepared])
  return [record | {'search': found} for record in records]


def _report(config, tested, workdir, display, name):
  """Writes the records of all seeds and prints their means."""
  folder = tune.folder_of(config, workdir, name)
  files.write(folder / 'records.jsonl', ''.join(map(files.line, tested)))
  display.say(f'the records of the choices are in {folder}')
  diverged = [str(r['seed']) for r in tested if records_lib.loss(r) == math.inf]
  if diverged:
    raise loop.Diverged(f'{config.name} diverged with seed {", ".join(diverged)}')
  display.say(terminal.OVER_SEEDS)
  for rows in tables.over_seeds(tested):
    display.table(rows)
