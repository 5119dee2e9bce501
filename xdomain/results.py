"""What a run leaves behind: JSON, one line an epoch and one record a run."""

import json
import os
import pathlib


def write(path, text: str) -> None:
  """Replaces a file as a whole: it is written beside and renamed."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  beside = path.with_name(f'{path.name}.part')
  with beside.open('w', encoding='utf-8') as file:
    file.write(text)
    file.flush()
    os.fsync(file.fileno())
  os.replace(beside, path)


def write_json(path, value) -> None:
  """Replaces a file by readable JSON."""
  write(path, json.dumps(value, indent=2) + '\n')


def append(path, record: dict) -> None:
  """Adds one line; a line that a kill tore off before it is closed first."""
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  line = json.dumps(record) + '\n'
  with path.open('ab+') as file:
    if file.tell():
      file.seek(-1, os.SEEK_END)
      if file.read(1) != b'\n':
        line = '\n' + line
    file.write(line.encode())


def read(path) -> list[dict]:
  """All whole records of a file of JSON lines; [] where there is no file."""
  path = pathlib.Path(path)
  if not path.exists():
    return []
  return list(filter(None, map(_parse, path.read_text('utf-8').splitlines())))


def _parse(line):
  try:
    return json.loads(line)
  except json.JSONDecodeError:
    return None  # The last line of a run that was killed while writing it.


def keep(path, wanted) -> None:
  """Rewrites a file of JSON lines with the records that `wanted` accepts."""
  records = read(path)
  kept = [record for record in records if wanted(record)]
  write(path, ''.join(json.dumps(record) + '\n' for record in kept))


def event_writer(folder):
  """A writer of TensorBoard events, or None without the `tb` extra."""
  try:
    import tensorboardX
  except ImportError:
    return None
  return tensorboardX.SummaryWriter(str(folder))


def write_events(writer, line: dict) -> None:
  """Adds the numbers of an epoch's line; those of a sweep by member."""
  for name, value in line.items():
    if name in ('stage', 'name', 'epoch'):
      continue
    members = {'': value}
    if isinstance(value, list):
      members = {f'/{index}': each for index, each in enumerate(value)}
    for suffix, each in members.items():
      writer.add_scalar(f'{line["name"]}/{name}{suffix}', each, line['epoch'])
