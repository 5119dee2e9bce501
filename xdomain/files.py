"""What a run leaves behind: JSON, one line an epoch and one record a run."""

import json
import lzma
import math
import os
import pathlib


def write(path, content: str | bytes) -> None:
  """Replaces a file as a whole: it is written beside and renamed.

  One whose name ends in `.xz` is compressed.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  beside = path.with_name(f'{path.name}.part')
  if isinstance(content, str):
    content = content.encode()
  with beside.open('wb') as file:
    file.write(lzma.compress(content) if path.suffix == '.xz' else content)
    file.flush()
    os.fsync(file.fileno())
  os.replace(beside, path)


def write_json(path, value) -> None:
  """Replaces a file by readable JSON."""
  write(path, json.dumps(value, indent=2) + '\n')


def line(record: dict) -> str:
  """A record as a line of strict JSON: what is not finite becomes null."""
  return json.dumps(_finite(record), allow_nan=False) + '\n'


def _finite(value):
  if isinstance(value, dict):
    return {name: _finite(each) for name, each in value.items()}
  if isinstance(value, list | tuple):
    return [_finite(each) for each in value]
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value


def append(path, record: dict) -> None:
  """Adds one line; a line that a kill tore off before it is closed first."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  text = line(record)
  with path.open('ab+') as file:
    if file.tell():
      file.seek(-1, os.SEEK_END)
      if file.read(1) != b'\n':
        text = '\n' + text
    file.write(text.encode())


def read(path) -> list[dict]:
  """All whole records of a file of JSON lines; [] where there is no file."""
  path = pathlib.Path(path)
  if not path.exists():
    return []
  content = path.read_bytes()
  if path.suffix == '.xz':
    content = lzma.decompress(content)
  return list(filter(None, map(_parse, content.decode().splitlines())))


def _parse(line):
  try:
    return json.loads(line)
  except json.JSONDecodeError:
    return None  # The last line of a run that was killed while writing it.


def keep(path, wanted) -> None:
  """Rewrites a file of JSON lines with the records that `wanted` accepts."""
  records = read(path)
  kept = [record for record in records if wanted(record)]
  write(path, ''.join(map(line, kept)))


class EventWriter:
  """TensorBoard events beside the lines; without the `tb` extra, nothing.

  The events of epochs that a broken run logged are written anew from their
  lines, so that none is there twice.
  """

  def __init__(self, folder, lines: list[dict]):
    try:
      import tensorboardX
    except ImportError:
      self._writer = None
      return
    for old in pathlib.Path(folder).glob('events.*'):
      old.unlink()
    self._writer = tensorboardX.SummaryWriter(str(folder))
    for each in lines:
      self.write(each)

  def write(self, line: dict) -> None:
    """The numbers of an epoch's line; those of a sweep by member."""
    if self._writer is None:
      return
    for name, value in line.items():
      if name in ('stage', 'name', 'epoch'):
        continue
      members = enumerate(value) if isinstance(value, list) else [('', value)]
      for member, each in members:
        if each is not None:
          tag = '/'.join([line['name'], name, str(member)]).rstrip('/')
          self._writer.add_scalar(tag, each, line['epoch'])

  def close(self) -> None:
    """Writes out what is buffered."""
    if self._writer is not None:
      self._writer.close()
