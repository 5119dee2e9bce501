"""Files and folders that are replaced as a whole, JSON, and lines of JSON."""

import contextlib
import json
import lzma
import math
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import IO, Any

Path = str | os.PathLike[str]


class DamagedFile(ValueError):
  """A file that cannot be read; the message names the file and the line."""


def write(path: Path, content: str | bytes) -> None:
  """Replaces a file as a whole; a name that ends in `.xz` compresses it.

  The content is written beside it and renamed, so that a killed process leaves the
  old file or the new one, and two processes may write it at once.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  beside = path.with_name(f'{path.name}.{os.getpid()}.part')
  if isinstance(content, str):
    content = content.encode()
  try:
    with beside.open('wb') as file:
      file.write(lzma.compress(content) if path.suffix == '.xz' else content)
      file.flush()
      os.fsync(file.fileno())
    os.replace(beside, path)
  except OSError:  # A full disk; it needs the room.
    beside.unlink(missing_ok=True)
    raise


@contextlib.contextmanager
def replaced(folder: Path) -> Iterator[pathlib.Path]:
  """A new folder to write into, which takes the place of `folder` at the end.

  Where writing fails, the new folder is removed and the old one stays.
  """
  folder = pathlib.Path(folder)
  beside = folder.with_name(f'{folder.name}.{os.getpid()}.part')
  shutil.rmtree(beside, ignore_errors=True)
  beside.mkdir(parents=True)
  try:
    yield beside
    old = folder.with_name(f'{folder.name}.{os.getpid()}.old')
    if folder.exists():
      folder.rename(old)
    beside.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
  except BaseException:
    shutil.rmtree(beside, ignore_errors=True)
    raise


def lock(file: IO) -> bool:
  """Whether this process now holds the lock of an open file; True without locks.

  The lock is released when the file is closed.
  """
  try:
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except ImportError:
    pass  # Not on this platform.
  except BlockingIOError:
    return False
  return True


def write_json(path: Path, value: object) -> None:
  """Replaces a file by readable JSON."""
  write(path, json.dumps(value, indent=2) + '\n')


def line(record: dict) -> str:
  """A record as a line of strict JSON; numbers that are not finite become null."""
  return json.dumps(_finite(record), allow_nan=False) + '\n'


def _finite(value):
  if isinstance(value, dict):
    return {name: _finite(each) for name, each in value.items()}
  if isinstance(value, list | tuple):
    return [_finite(each) for each in value]
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value


def append(path: Path, record: dict) -> None:
  """Adds one line; an unfinished line of a killed process is ended before it."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  text = line(record)
  with path.open('ab+') as file:
    if file.tell():
      file.seek(-1, os.SEEK_END)
      if file.read(1) != b'\n':
        text = '\n' + text
    file.write(text.encode())


def read(path: Path) -> list[dict]:
  """All records of a file of JSON lines; none where there is no file.

  Raises:
    DamagedFile: naming the line that is not a JSON object.
  """
  return [_parsed(path, *line) for line in enumerate(_lines(path), 1)]


def read_json(path: Path) -> Any:
  """The value of a JSON file.

  Raises:
    DamagedFile: naming the line that is not JSON.
  """
  try:
    return json.loads(pathlib.Path(path).read_text('utf-8'))
  except json.JSONDecodeError as error:
    raise DamagedFile(f'{path}, line {error.lineno} is not JSON: {error.msg}') from None
  except (UnicodeDecodeError, RecursionError) as error:
    raise DamagedFile(f'{path} is damaged: {error}') from None


def read_log(path: Path) -> list[dict]:
  """The whole records of a log, to which a killed process may have been writing."""
  records = []
  for number, text in enumerate(_lines(path), 1):
    with contextlib.suppress(DamagedFile):
      records.append(_parsed(path, number, text))
  return records


def _lines(path):
  path = pathlib.Path(path)
  if not path.exists():
    return []
  content = path.read_bytes()
  try:
    if path.suffix == '.xz':
      content = lzma.decompress(content)
    return content.decode().splitlines()
  except (lzma.LZMAError, UnicodeDecodeError) as error:
    raise DamagedFile(f'{path} is damaged: {error}') from None


def _parsed(path, number, text):
  try:
    record = json.loads(text)
  except (ValueError, RecursionError) as error:
    reason = getattr(error, 'msg', 'it cannot be parsed')
    raise DamagedFile(f'{path}, line {number} is not JSON: {reason}') from None
  if not isinstance(record, dict):
    raise DamagedFile(f'{path}, line {number} is not a JSON object')
  return record


def keep(path: Path, wanted: Callable[[dict], bool]) -> None:
  """Rewrites a log with the records that `wanted` accepts."""
  records = read_log(path)
  kept = [record for record in records if wanted(record)]
  write(path, ''.join(map(line, kept)))
