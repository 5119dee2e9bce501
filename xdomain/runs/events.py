"""TensorBoard events, beside the log of a run."""

import pathlib


class Writer:
  """TensorBoard events of a run's epochs; none without the `tb` extra.

  A resumed run writes the events of its logged epochs again, so that none appears
  twice.
  """

  def __init__(self, folder: pathlib.Path, lines: list[dict]):
    try:
      import tensorboardX  # pyright: ignore[reportMissingImports]
    except ImportError:
      self._writer = None
      return
    for old in folder.glob('events.*'):
      old.unlink()
    self._writer = tensorboardX.SummaryWriter(str(folder))
    for logged in lines:
      self.write(logged)

  def write(self, line: dict) -> None:
    """Writes the numbers of an epoch's line; those of a sweep by member."""
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
    """Writes out all buffered events."""
    if self._writer is not None:
      self._writer.close()
