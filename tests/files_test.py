import pathlib
import sys
import types

from xdomain import files


def test_what_is_appended_is_read(tmp_path):
  path = tmp_path / 'deep' / 'r.jsonl'
  files.append(path, {'a': 1})
  files.append(path, {'a': [0.1]})
  assert files.read(path) == [{'a': 1}, {'a': [0.1]}]


def test_no_file_is_no_records(tmp_path):
  assert files.read(tmp_path / 'none.jsonl') == []


def test_a_line_torn_by_a_kill_harms_neither_the_next_nor_the_last(tmp_path):
  path = tmp_path / 'r.jsonl'
  files.append(path, {'a': 1})
  with path.open('a') as file:
    file.write('{"a": 2, "b')
  assert files.read(path) == [{'a': 1}]
  files.append(path, {'a': 3})
  assert files.read(path) == [{'a': 1}, {'a': 3}]


def test_writing_replaces_the_file_and_leaves_nothing_beside(tmp_path):
  path = tmp_path / 'r.json'
  files.write_json(path, {'a': 1})
  files.write_json(path, {'a': 2})
  assert '2' in path.read_text()
  assert [p.name for p in tmp_path.iterdir()] == ['r.json']


def test_a_file_of_that_name_is_compressed(tmp_path):
  path = tmp_path / 'a' / 'r.jsonl.xz'
  lines = [{'x': float('nan')}] + 1000 * [{'y': 1}]
  files.write(path, ''.join(map(files.line, lines)))
  assert files.read(path) == [{'x': None}] + 1000 * [{'y': 1}]
  assert path.stat().st_size < 1000
  assert [p.name for p in path.parent.iterdir()] == ['r.jsonl.xz']


def test_keeping_drops_the_other_records(tmp_path):
  path = tmp_path / 'r.jsonl'
  for a in range(4):
    files.append(path, {'a': a})
  files.keep(path, lambda record: record['a'] < 2)
  assert files.read(path) == [{'a': 0}, {'a': 1}]


def test_what_is_not_finite_becomes_null():
  text = files.line({'a': [float('nan'), 1.0], 'b': {'c': float('inf')}})
  assert text == '{"a": [null, 1.0], "b": {"c": null}}\n'


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
  files.EventWriter(tmp_path, []).write(first)
  writer = files.EventWriter(tmp_path, [first])
  writer.write(swept)
  writer.close()
  text = (tmp_path / 'events.fake').read_text()
  assert text == 'fit/loss 0.5 1\nfit/loss/0 0.4 2\n'


def test_without_the_extra_there_are_no_events(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'tensorboardX', None)
  writer = files.EventWriter(tmp_path, [])
  writer.write({'stage': 0, 'name': 'fit', 'epoch': 1, 'loss': 0.5})
  writer.close()
  assert list(tmp_path.iterdir()) == []
