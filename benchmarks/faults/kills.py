"""Commands that are killed, run out of room or find their files damaged.

Each is then run again, and must end bit for bit as the one that nothing happened to.
"""

import contextlib
import hashlib
import itertools
import os
import pathlib
import random
import shutil
import signal
from typing import Any, NamedTuple

import numpy as np

from benchmarks.faults import processes
from xdomain import files
from xdomain.data.readers import download
from xdomain.reporting import records
from xdomain.runs import stop

SAME, REFUSED, ALTERED, WRONG = 'same', 'refused', 'altered', 'WRONG'
TINY = dict(users=40, source=15, target=15, source_ratings=400, target_ratings=400)
_DATA = [f'--config.data.{name}={value}' for name, value in TINY.items()]
# As many members at a time as would fit in memory may differ between two runs.
_AUTOREC = ['--config=configs/autorec.py:item,synthetic', *_DATA, '--config.width=2']
# Commands by what they try; `{}` is the folder that they write to.
JOBS = {
  'run': [
    *('main', '--config=configs/darec.py:item,synthetic', *_DATA),
    *('--config.epochs=3', '--config.patience=3', '--workdir={}/runs'),
  ],
  'sweep': [
    *('main', *_AUTOREC, '--config.epochs=4', '--config.patience=4'),
    *('--config.sweep.hyper.alpha=(1e-4, 1e-3)', '--config.sweep.seed=(0, 1)'),
    '--workdir={}/runs',
  ],
  'search': [
    *('tune', *_AUTOREC, '--config.epochs=3', '--config.patience=3', '--seeds=1'),
    *('--config.search.trials=2', '--workdir={}/runs', '--keep={}/kept'),
  ],
  'table': [
    *('table', '--config=configs/darec_table2.py:synthetic,quick', *_DATA),
    *("--config.rows=('bias',)", '--config.methods.bias.epochs=3'),
    *('--workdir={}/runs', '--results={}/results'),
  ],
  'save': [
    *('main', '--config=configs/ease.py:synthetic', '--final', '--workdir={}/runs')
  ],
}
SIGNALS = (*[signal.SIGKILL] * 6, signal.SIGTERM, signal.SIGTERM, signal.SIGHUP)
SIGNALS += (signal.SIGINT,)


class Trial(NamedTuple):
  """The kill of a command, and its end."""

  about: str  # the group that it is counted in
  verdict: str
  why: str = ''
  kills: int = 0


class Whole(NamedTuple):
  """A command that nothing happened to."""

  outcome: dict[str, Any]
  seconds: float  # of CPUs
  changes: int  # of files
  folder: pathlib.Path


def words(job: str, folder: pathlib.Path, seconds: str = '0') -> list[str]:
  """The module and the flags of a job that writes to a folder."""
  given = [word.replace('{}', str(folder)) for word in JOBS[job]]
  return given + ([] if job == 'search' else [f'--checkpoint_seconds={seconds}'])


# --- Outcomes ---------------------------------------------------------------

_VOLATILE = ('seconds', 'time', 'written', 'git', 'versions', 'device', 'files')
_VOLATILE += ('memory', 'peak_memory', 'energy', 'digest', 'command')


def outcome(folder: pathlib.Path) -> dict[str, Any]:
  """All that a command left in its folder that must not depend on its course."""
  found = {}
  for path in sorted(folder.rglob('*')):
    name = path.relative_to(folder)
    if path.is_file() and not _is_passing(name):
      content = _content(path)
      if content is not None:
        found[str(name)] = content
  return found


def _is_passing(name):
  parts = name.parts
  return (
    'checkpoint' in parts
    or name.name.startswith(('events.', 'lock'))
    or any(part.endswith(('.part', '.old', '.part.npz')) for part in parts)
  )


def _content(path):
  if path.name.endswith(('.jsonl', '.jsonl.xz')):
    return [_lasting(each) for each in files.read(path)]
  if path.suffix == '.json':
    return _lasting(files.read_json(path))
  if path.suffix == '.npz':
    with np.load(path) as arrays:
      return {name: _digest(arrays[name].tobytes()) for name in sorted(arrays)}
  if path.suffix in ('.safetensors', '.parquet'):
    return _digest(path.read_bytes())
  return None


def _lasting(value):
  if isinstance(value, dict):
    return {k: _lasting(v) for k, v in value.items() if k not in _VOLATILE}
  return [_lasting(each) for each in value] if isinstance(value, list) else value


def _digest(content):
  return hashlib.sha256(content).hexdigest()[:16]


def differing(one: dict, other: dict) -> str:
  """The first file in which two outcomes differ; '' if they are equal."""
  for name in sorted({*one, *other}):
    if name not in other or name not in one:
      return f'{name} is {"missing" if name not in other else "new"}'
    if one[name] != other[name]:
      return f'{name} differs'
  return ''


def compared(folder: pathlib.Path, whole: Whole) -> str:
  """The difference of a folder's outcome from the whole one; '' if there is none."""
  try:
    return differing(whole.outcome, outcome(folder))
  except Exception as error:
    return f'{type(error).__name__}: {error}'[:200]


# --- Trials -----------------------------------------------------------------


class Campaign:
  """A folder with the whole outcomes of all jobs, and trials against them.

  Args:
    folder: for all files.
    disk: a folder on a small file system, which trials fill up; None for no such
      trials.
  """

  def __init__(self, folder: pathlib.Path, disk: pathlib.Path | None = None):
    self._folder, self._disk = folder, disk
    self._count = itertools.count()
    self._log = folder / 'log'
    self._whole: dict[str, Whole] = {}
    self._recommended: dict[pathlib.Path, str] = {}
    folder.chmod(0o755)
    compiled = download.cache_dir() / 'compiled'  # As commands keep them.
    os.environ |= {
      'XDOMAIN_DATA': str(folder / 'data'),
      'JAX_COMPILATION_CACHE_DIR': str(compiled),
      'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
      'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1',
    }
    processes.import_packages()

  def whole(self, job: str) -> Whole:
    """The outcome of a job, which is run twice: first to compile."""
    if job not in self._whole:
      for name in ('compiling', 'whole'):
        folder = self._folder / name / job
        ended = processes.run(words(job, folder), self._log)
        if ended.status:
          raise RuntimeError(f'{job} fails by itself: {ended.text[-2000:]}')
        made = Whole(outcome(folder), ended.seconds, ended.changes, folder)
        assert made.outcome, f'{job} leaves nothing'
        different = self._whole.get(job) and compared(folder, self._whole[job])
        if different:
          raise RuntimeError(f'{job} is not repeatable: {different}')
        self._whole[job] = made
    return self._whole[job]

  def _new(self) -> pathlib.Path:
    return self._folder / f'trial{next(self._count)}'

  def kill(self, draw: random.Random) -> Trial:
    """Kills a command one to four times at random moments, then lets it end."""
    job = draw.choice(list(JOBS))
    whole, folder, kills, how = self.whole(job), self._new(), 0, []
    seconds = draw.choice(('0', '0', '15'))
    command = words(job, folder, seconds)
    for _ in range(draw.randint(1, 4)):
      number = draw.choice(SIGNALS)
      if number == signal.SIGKILL and draw.random() < 0.5:
        changes = draw.randrange(whole.changes)
        ended = processes.run(command, self._log, processes.Limits(changes=changes))
        how.append(f'SIGKILL after {changes} changes of files')
      else:
        after = whole.seconds * draw.uniform(0.05, 1.0)
        ended = processes.run(command, self._log, after=after, number=number)
        how.append(f'{number.name} after {after:.2f} s')
      if wrong := _fault_of_stop(ended, number):
        return Trial(job, WRONG, f'{", ".join(how)}: {wrong}', kills)
      if ended.status == 0:
        break
      kills += 1
    return self._ended(job, folder, command, ', '.join(how), kills)

  def _ended(self, about, folder, command, how, kills=0) -> Trial:
    """Runs a command to its end, and compares."""
    job = about.split(',')[0]
    ended = processes.run(command, self._log)
    wrong = compared(folder, self.whole(job))
    if ended.status or ended.hung:
      wrong = processes.fault(ended) or ended.text[-300:]
    shutil.rmtree(folder, ignore_errors=True)
    return Trial(about, WRONG if wrong else SAME, f'{how}; then {wrong}', kills)

  def fill(self, draw: random.Random) -> Trial:
    """Runs a command that has too little room, then the same with enough."""
    job, disk = draw.choice(list(JOBS)), draw.choice((self._disk, None))
    self.whole(job)
    kilobytes = int(4 * 2 ** draw.uniform(0, 9))
    if disk:
      about, how = f'{job}, full disk', f'{kilobytes} kB of disk'
      folder = disk / 'trial'
      with _filled(disk, 1024 * kilobytes):
        ended = processes.run(words(job, folder), self._log)
    else:
      about, how = f'{job}, limit of files', f'{kilobytes} kB for a file'
      folder = self._new()
      limits = processes.Limits(bytes_of_a_file=1024 * kilobytes)
      ended = processes.run(words(job, folder), self._log, limits)
    if wrong := ended.status and processes.fault(ended):
      shutil.rmtree(folder, ignore_errors=True)
      return Trial(about, WRONG, f'{how}: {wrong}')
    return self._ended(about, folder, words(job, folder), how)

  def lock_away(self, draw: random.Random) -> Trial:
    """Runs a command that may not write to its folder, then one that may."""
    job = draw.choice(list(JOBS))
    whole, folder = self.whole(job), self._new()
    folder.mkdir()
    command = words(job, folder)
    begun = draw.random() < 0.5
    if begun:
      after = whole.seconds * draw.uniform(0.3, 0.9)
      processes.run(command, self._log, after=after, number=signal.SIGKILL)
    finished = begun and not compared(folder, whole)
    _set_writable(folder, False)
    ended = processes.run(command, self._log, processes.Limits(obeys_modes=True))
    _set_writable(folder, True)
    about = f'{job}, read-only {"run" if begun else "folder"}'
    if not ended.status and not finished:
      return Trial(about, WRONG, 'it writes to a read-only folder')
    if wrong := ended.status and processes.fault(ended):
      return Trial(about, WRONG, wrong)
    return self._ended(about, folder, command, 'read-only')

  def damage(self, draw: random.Random) -> Trial:
    """Damages a file of a finished or unfinished job, and runs it again."""
    job = draw.choice(list(JOBS))
    whole, folder = self.whole(job), self._new()
    if unfinished := draw.random() < 0.4:
      after = whole.seconds * draw.uniform(0.4, 0.95)
      command = words(job, folder)
      processes.run(command, self._log, after=after, number=signal.SIGKILL)
    else:
      shutil.copytree(whole.folder, folder)
    path, harm = _harmed(folder, draw)
    if path is None:
      return Trial(f'{job}, nothing to damage', SAME)
    relative = path.relative_to(folder)
    about = f'{"unfinished" if unfinished else "finished"} {job}, {harm}'
    verdict, why = self._after_damage(job, folder, relative)
    shutil.rmtree(folder, ignore_errors=True)
    return Trial(about, verdict, f'{relative} {harm}: {why}' if why else '')

  def _after_damage(self, job, folder, relative) -> tuple[str, str]:
    if _is_of_artifact(relative):
      command = _recommend(folder / relative.parent)
    else:
      command = words(job, folder)
    ended = processes.run(command, self._log)
    if ended.status or ended.hung:
      wrong = processes.fault(ended)
      return (WRONG, wrong) if wrong else (REFUSED, '')
    if 'Traceback' in ended.text:
      return WRONG, processes.fault(ended)
    if _is_of_artifact(relative):
      return self._of_artifact(job, relative, ended.text)
    if relative.name == 'test.npz' and is_refused(folder / relative):
      return REFUSED, ''  # By what compares tests; the command shows records.
    different = compared(folder, self.whole(job))
    if not different:
      return SAME, ''
    # Plain text has no checksum: a digit that changed is another number.
    plain = relative.suffix in ('.json', '.jsonl', '.md', '.csv')
    return (ALTERED, '') if plain else (WRONG, different)

  def _of_artifact(self, job, relative, text) -> tuple[str, str]:
    """Whether an artefact recommends what the whole one does."""
    at = self.whole(job).folder / relative.parent
    if at not in self._recommended:
      ended = processes.run(_recommend(at), self._log)
      if ended.status:
        raise RuntimeError(f'{at} recommends nothing: {ended.text[-2000:]}')
      self._recommended[at] = ended.text
    return (SAME, '') if text == self._recommended[at] else (WRONG, 'other items')


def is_refused(test: pathlib.Path) -> bool:
  """Whether the reader of a run's test refuses the file, by its path."""
  try:
    records.read_test(test.parent)
  except records.RecordError as error:
    return str(test) in str(error)
  return False


def _is_of_artifact(relative) -> bool:
  return 'model' in relative.parts or '-final-' in str(relative)


def _recommend(folder) -> list[str]:
  return ['recommend', f'--run={folder}', '--top=3']


def _fault_of_stop(ended, number) -> str:
  if ended.hung:
    return f'no end {processes.ENDS:g} s after the signal'
  if ended.status == 0 or ended.status == -number:
    return ''  # It ended before, or had no handler yet.
  if ended.status != stop.STATUS:
    return f'status {ended.status}: {ended.text[-300:]}'
  if 'Traceback' in ended.text or stop.SAYS not in ended.text:
    return f'prints {ended.text[-300:]}'
  return ''


@contextlib.contextmanager
def _filled(disk: pathlib.Path, left: int):
  """A context in which a small file system has only so many bytes left."""
  ballast = disk / 'ballast'
  with open(ballast, 'wb') as file:
    about = os.statvfs(disk)
    free = about.f_bavail * about.f_frsize
    os.posix_fallocate(file.fileno(), 0, max(1, free - left))
  try:
    yield
  finally:
    ballast.unlink()


def _set_writable(folder, yes):
  for path in (folder, *folder.rglob('*')):
    with contextlib.suppress(OSError):
      path.chmod((0o755 if path.is_dir() else 0o644) if yes else 0o555)


HARMS = ('truncated', 'flipped', 'emptied', 'swapped', 'missing')


def _harmed(folder, draw) -> tuple[pathlib.Path | None, str]:
  """A damaged file in a folder, and how it was damaged."""
  every = sorted(p for p in folder.rglob('*') if p.is_file() and p.name != 'lock')
  filled = [path for path in every if path.stat().st_size]
  if not filled:
    return None, ''
  path, harm = draw.choice(filled), draw.choice(HARMS)
  content = path.read_bytes()
  if harm == 'truncated':
    path.write_bytes(content[: draw.randrange(len(content))])
  elif harm == 'flipped':
    at, bit = draw.randrange(len(content)), 1 << draw.randrange(8)
    flipped = bytes([content[at] ^ bit])
    path.write_bytes(content[:at] + flipped + content[at + 1 :])
  elif harm == 'emptied':
    path.write_bytes(b'')
  elif harm == 'swapped':
    path.write_bytes(draw.choice(filled).read_bytes())
  else:
    path.unlink()
  return path, harm
