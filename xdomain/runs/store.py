"""The folder of a run: where it is, what it holds, and how it is kept whole.

A run's folder is named by its spec and seed, so that the same command finds it
again: an unfinished run resumes, a finished one is shown from its records.

  config.json     the spec
  about.json      seed, versions, hashes of the data, revision of the code; a
                  list of them for several seeds
  metrics.jsonl   a line an epoch (and events.* for TensorBoard, if installed)
  checkpoint/     the state that training resumes from; at the end, the model
  records.jsonl   a record for the run, or one for each member of a sweep
  test.npz        every test query and its predictions
  model/          the trained method, with its users and items (no sweep has one)
"""

import contextlib
import json
import pathlib
import platform
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

import xdomain
from xdomain import base, files, wording
from xdomain.reporting import records as records_lib
from xdomain.runs import events, methods, protocols, stop
from xdomain.runs import prepare as preparing
from xdomain.runs import spec as specs
from xdomain.training import checkpoint, loop

ARTIFACT = 'model'


def folder_of(
  spec: specs.Spec, workdir: str | pathlib.Path, kind: str = '', **more
) -> pathlib.Path:
  """The folder of a spec's run, or of a `kind` of result that `more` decides too."""
  seeds = spec.sweep.seed or (spec.seed,)
  kind = kind or f'seed{seeds[0]}' + f'-{seeds[-1]}' * (len(seeds) > 1)
  return pathlib.Path(workdir) / f'{spec.name}-{kind}-{specs.digest(spec, **more)}'


def find_run(
  name: str | pathlib.Path, workdir: str | pathlib.Path = 'runs'
) -> pathlib.Path:
  """The folder of a run, given by its folder, its name or its hash.

  Args:
    name: a folder; or the name or the hash of runs, of which the newest is taken.
    workdir: where runs are found by their names.

  Raises:
    SpecError: there is none.
  """
  folder = pathlib.Path(name)
  if not folder.exists() and len(folder.parts) == 1:
    return _newest(str(name), pathlib.Path(workdir))
  return folder


def find_trained(
  name: str | pathlib.Path, workdir: str | pathlib.Path = 'runs'
) -> pathlib.Path:
  """The artefact of a run that `find_run` finds, or an artefact itself.

  Args:
    name: as for `find_run`, or the folder of an artefact.
    workdir: as for `find_run`.

  Raises:
    SpecError: there is none, or the run holds no trained method.
  """
  folder = find_run(name, workdir)
  if (folder / ARTIFACT).is_dir():
    return folder / ARTIFACT
  if (folder / 'about.json').exists() and (folder / 'model.safetensors').exists():
    return folder
  spec = read_spec(folder)
  if specs.is_sweep(spec):
    raise specs.SpecError(
      f'{folder} holds a sweep; train the chosen member on its own, as in'
      ' hyper.lr=0.001'
    )
  found = files.read(folder / 'records.jsonl')
  if found and 'diverged' in found[0]:
    raise specs.SpecError(f'{folder}: {found[0]["diverged"]}')
  if found:
    raise specs.SpecError(
      f'{folder} holds no trained method, as it was made by an older version or for a'
      ' search; train it again'
    )
  raise specs.SpecError(
    f'{folder} holds an unfinished run; the same command resumes it'
  )


def _newest(name, workdir):
  """The newest run of a name, or with a hash; those with an artefact come first."""
  runs = [
    path
    for pattern in (f'{name}-seed*', f'{name}-*', f'*-{name}')
    for path in workdir.glob(pattern)
    if path.is_dir()
  ]
  if not runs:
    known = {path.name.rsplit('-', 2)[0] for path in workdir.glob('*-*-*')}
    raise specs.SpecError(
      f'{name!r} is no folder and no run in {workdir}'
      f'{wording.instead(name, sorted(known))}'
    )
  return max(runs, key=lambda path: ((path / ARTIFACT).is_dir(), path.stat().st_mtime))


def read_spec(folder: str | pathlib.Path) -> specs.Spec:
  """The spec of the run in a folder.

  Raises:
    SpecError: the folder holds no run.
  """
  path = pathlib.Path(folder) / 'config.json'
  if not path.exists():
    hint = '; the folders of its runs are beside it' * ('-sweep-' in path.parent.name)
    raise specs.SpecError(f'{folder} is not the folder of a run: no {path.name}{hint}')
  return specs.from_config(json.loads(path.read_text('utf-8')))


def write_about(folder: pathlib.Path, spec: specs.Spec, about: list[dict]) -> None:
  """Writes a run's spec, and what a reader needs to repeat it."""
  files.write_json(folder / 'config.json', specs.plain(spec))
  files.write_json(folder / 'about.json', about if len(about) > 1 else about[0])


def records(
  folder: str | pathlib.Path, several: list[preparing.Prepared]
) -> list[dict]:
  """The records of a finished run, [] of an unfinished one.

  Raises:
    SpecError: the run was made on other data.
  """
  found = records_lib.read(pathlib.Path(folder) / 'records.jsonl')
  hashes = [each.hashes for each in several]
  if any(record['hashes'] not in hashes for record in found):
    raise specs.SpecError(
      f'{folder} holds a run of this config on other data, which has changed'
      ' since; put the data back, or train on the present data in another workdir'
    )
  return found


def write_records(folder: pathlib.Path, found: list[dict]) -> None:
  """Writes the records that end a run."""
  files.write(folder / 'records.jsonl', ''.join(map(files.line, found)))


@contextlib.contextmanager
def lock(folder: pathlib.Path, say: preparing.Say) -> Iterator[None]:
  """Keeps a second process out of a run's folder; it waits until the first ends.

  Args:
    folder: of the run, which is made.
    say: called with a line before it waits.
  """
  folder.mkdir(parents=True, exist_ok=True)
  with (folder / 'lock').open('w') as file:
    if not files.lock(file):
      import fcntl

      say(f'another process is running in {folder}; waiting for it')
      fcntl.flock(file, fcntl.LOCK_EX)
    yield


class Log:
  """The lines of a run's epochs, in `metrics.jsonl` and for TensorBoard."""

  def __init__(
    self, folder: pathlib.Path, spec: specs.Spec, progress: loop.Progress | None
  ):
    self._path = folder / 'metrics.jsonl'
    self._protocol = protocols.of(spec)
    self._plain = np.ndarray.tolist if specs.is_sweep(spec) else np.ndarray.item
    if progress is None:
      files.write(self._path, '')
    else:  # Epochs after the checkpoint will run again.
      at = progress.stage, progress.epoch
      files.keep(self._path, lambda line: (line['stage'], line['epoch']) <= at)
    self._events = events.Writer(folder, files.read_log(self._path))

  def write(self, stage: int, report: loop.Report) -> None:
    """Adds the line of an epoch."""
    value = {}
    if report.value is not None:
      value = {self._protocol.valid: self._plain(self._protocol.value(report.value))}
    line = {
      'stage': stage,
      'name': report.stage,
      'epoch': report.epoch,
      **{name: self._plain(metric) for name, metric in report.metrics.items()},
      **value,
      'seconds': round(report.seconds, 4),
    }
    files.append(self._path, line)
    self._events.write(line)

  def close(self) -> None:
    self._events.close()


def chosen_epochs(folder: pathlib.Path, spec: specs.Spec) -> tuple[int, ...]:
  """The epoch of each stage with the best validation value, or else the last one."""
  protocol = protocols.of(spec)
  stages: dict[int, list[dict]] = {}
  for line in files.read_log(folder / 'metrics.jsonl'):
    stages.setdefault(line['stage'], []).append(line)
  sign = 1 if protocol.rates else -1
  epochs = []
  for lines in stages.values():
    validated = [
      (sign * float(np.reshape(line[protocol.valid], -1)[0]), line['epoch'])
      for line in lines
      if line.get(protocol.valid) is not None
    ]
    epochs.append(min(validated)[1] if validated else lines[-1]['epoch'])
  return tuple(epochs)


def spent(folder: pathlib.Path) -> dict[str, Any]:
  """The seconds of all epochs, before and after it was resumed, and the time."""
  lines = files.read_log(folder / 'metrics.jsonl')
  return {
    'seconds': round(sum(line['seconds'] for line in lines), 1),
    'time': time.strftime('%Y-%m-%dT%H:%M:%S%z'),
  }


# --- Checkpoints ------------------------------------------------------------


def checkpoint_identity(
  spec: specs.Spec, several: list[preparing.Prepared]
) -> dict[str, Any]:
  """The values that a checkpoint must share with the run that resumes from it."""
  plain = specs.plain(spec)
  hashes = [each.hashes for each in several]
  if not spec.sweep.seed:
    (hashes,) = hashes
  else:
    hashes = {name: [each[name] for each in hashes] for name in hashes[0]}
  return {name: plain[name] for name in (*specs.DECIDES, 'sweep')} | hashes


def save_checkpoint(
  folder: pathlib.Path, progress: loop.Progress, identity: dict[str, Any]
) -> None:
  """Replaces the checkpoint of the run in a folder."""
  with stop.saving():
    checkpoint.save(folder / 'checkpoint', progress, identity)


def restore(
  folder: str | pathlib.Path,
  spec: specs.Spec,
  several: list[preparing.Prepared],
  method: methods.Method,
  key: base.Array,
  data: base.Arrays,
) -> loop.Progress | None:
  """The progress of the run in a folder; None where there is no checkpoint."""
  return checkpoint.restore(
    pathlib.Path(folder) / 'checkpoint',
    checkpoint_identity(spec, several),
    method.model,
    key,
    data,
    method.hyper,
    method.axes,
  )


# --- Tests ------------------------------------------------------------------


def save_test(folder: pathlib.Path, answers: list[protocols.Answer], apart: bool):
  """Writes `test.npz`; arrays that differ between members are `[W, Q]`.

  Args:
    folder: of the run.
    answers: of each member.
    apart: whether members have test queries of their own.
  """
  shared, own = answers[0].shared, [answer.own for answer in answers]
  if apart:
    shared, own = {}, [answer.shared | answer.own for answer in answers]
  own = {name: np.stack([each[name] for each in own]) for name in own[0]}
  beside = folder / 'test.part.npz'
  np.savez_compressed(beside, **shared, **own)  # pyright: ignore[reportArgumentType]
  beside.replace(folder / 'test.npz')


def differences(
  spec: specs.Spec,
  folder: str | pathlib.Path,
  other: str | pathlib.Path,
  member: int = 0,
) -> list[tuple]:
  """Differences of a run's test measures from those of another on the same split.

  Args:
    spec: of the run.
    folder: of the run.
    other: the folder of the other run.
    member: of the run.

  Returns:
    Rows of the measure's name, its value of the run less that of the other,
    and the 95 % interval of that by a paired bootstrap over users.
  """
  return protocols.of(spec).differences(test_of(folder, member), test_of(other))


def test_of(folder: str | pathlib.Path, member: int = 0) -> dict[str, np.ndarray]:
  """The arrays of a run's test, `[Q]` of its queries and the answers of a member.

  Raises:
    SpecError: the folder holds no finished run.
    RecordError: its test is damaged.
  """
  folder = pathlib.Path(folder)
  if not (folder / 'test.npz').exists():
    raise specs.SpecError(f'{folder} holds no finished run')
  return records_lib.read_test(folder, member)


# --- Origin -----------------------------------------------------------------


def about(spec: specs.Spec, hashes: dict[str, str]) -> dict[str, Any]:
  """The facts that a reader needs to trust a record, or to repeat it."""
  device = jax.devices()[0]
  return {
    'name': spec.name,
    'config': specs.plain(spec),
    'seed': spec.seed,
    'hashes': hashes,
    'versions': {
      'xdomain': xdomain.__version__,
      'jax': jax.__version__,
      'python': platform.python_version(),
    },
    'device': f'{device.platform} {device.device_kind}',
    'git': _revision(),
  }


def _revision():
  """The commit of the code, marked where it was changed; or None."""
  where = pathlib.Path(__file__).parent
  try:
    described = subprocess.run(
      ['git', 'describe', '--always', '--dirty', '--abbrev=12'],
      cwd=where,
      capture_output=True,
      text=True,
      check=True,
    )
  except (OSError, subprocess.CalledProcessError):
    return None
  return described.stdout.strip()
