import os

import pytest

from xdomain import files


def test_appended_records_are_read(tmp_path):
  path = tmp_path / 'deep' / 'r.jsonl'
  files.append(path, {'a': 1})
  files.append(path, {'a': [0.1]})
  assert files.read(path) == [{'a': 1}, {'a': [0.1]}]


def test_no_file_is_no_records(tmp_path):
  assert files.read(tmp_path / 'none.jsonl') == []


def test_an_unfinished_line_of_a_log_harms_no_other_line(tmp_path):
  path = tmp_path / 'r.jsonl'
  files.append(path, {'a': 1})
  with path.open('a') as file:
    file.write('{"a": 2, "b')
  assert files.read_log(path) == [{'a': 1}]
  files.append(path, {'a': 3})
  assert files.read_log(path) == [{'a': 1}, {'a': 3}]


@pytest.mark.parametrize('line', ['{"a": 2, "b', '[1]', '7', 'NaN', '[' * 100_000])
def test_a_damaged_line_is_named_by_its_file_and_number(tmp_path, line):
  path = tmp_path / 'r.jsonl'
  path.write_text(f'{{"a": 1}}\n{line}\n')
  with pytest.raises(files.DamagedFile, match=r'r\.jsonl, line 2 is not'):
    files.read(path)


@pytest.mark.parametrize('name', ['r.jsonl', 'r.jsonl.xz', 'r.json'])
def test_a_file_that_is_not_text_is_named(tmp_path, name):
  path = tmp_path / name
  path.write_bytes(b'\xff\xfe\x00')
  with pytest.raises(files.DamagedFile, match=f'{name} is damaged'):
    (files.read_json if name == 'r.json' else files.read)(path)


def test_a_json_file_is_read_or_its_line_is_named(tmp_path):
  path = tmp_path / 'r.json'
  files.write_json(path, {'a': 1})
  assert files.read_json(path) == {'a': 1}
  path.write_text('{\n"a": }')
  with pytest.raises(files.DamagedFile, match=r'r\.json, line 2 is not JSON'):
    files.read_json(path)


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


def test_numbers_that_are_not_finite_become_null():
  text = files.line({'a': [float('nan'), 1.0], 'b': {'c': float('inf')}})
  assert text == '{"a": [null, 1.0], "b": {"c": null}}\n'


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
  path = tmp_path / 'record.json'
  files.write(path, 'old')

  def full(descriptor):
    raise OSError(f'no space left for {descriptor}')

  monkeypatch.setattr(os, 'fsync', full)
  with pytest.raises(OSError, match='no space'):
    files.write(path, 'new')
  assert path.read_text() == 'old'


def test_two_processes_may_write_a_file_at_once(tmp_path, monkeypatch):
  path, rename = tmp_path / 'r.json', os.replace

  def after_another(old, new):
    with monkeypatch.context() as patch:
      patch.setattr(os, 'replace', rename)
      patch.setattr(os, 'getpid', lambda: 0)
      files.write(path, 'of another process')
    rename(old, new)

  monkeypatch.setattr(os, 'replace', after_another)
  files.write(path, 'mine')
  assert path.read_text() == 'mine'
  assert list(tmp_path.iterdir()) == [path]
