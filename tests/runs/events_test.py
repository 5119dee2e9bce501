import pathlib
import sys
import types

from xdomain.runs import events


class FakeWriter:
  """Stands for tensorboardX, which is an extra."""

  def __init__(self, folder):
    self.path = pathlib.Path(folder) / 'events.fake'
    self.path.write_text('')

  def add_scalar(self, tag, value, step):
    with self.path.open('a') as file:
      file.write(f'{tag} {value} {step}\n')

  def close(self):
    pass


def test_events_are_written_once_also_by_a_run_that_goes_on(tmp_path, monkeypatch):
  fake = types.SimpleNamespace(SummaryWriter=FakeWriter)
  monkeypatch.setitem(sys.modules, 'tensorboardX', fake)
  first = {'stage': 0, 'name': 'fit', 'epoch': 1, 'loss': 0.5}
  swept = {'stage': 0, 'name': 'fit', 'epoch': 2, 'loss': [0.4, None]}
  events.Writer(tmp_path, []).write(first)
  writer = events.Writer(tmp_path, [first])
  writer.write(swept)
  writer.close()
  text = (tmp_path / 'events.fake').read_text()
  assert text == 'fit/loss 0.5 1\nfit/loss/0 0.4 2\n'


def test_without_the_extra_there_are_no_events(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'tensorboardX', None)
  writer = events.Writer(tmp_path, [])
  writer.write({'stage': 0, 'name': 'fit', 'epoch': 1, 'loss': 0.5})
  writer.close()
  assert list(tmp_path.iterdir()) == []
