from xdomain import results


def test_what_is_appended_is_read(tmp_path):
  path = tmp_path / 'deep' / 'r.jsonl'
  results.append(path, {'a': 1})
  results.append(path, {'a': [0.1]})
  assert results.read(path) == [{'a': 1}, {'a': [0.1]}]


def test_no_file_is_no_records(tmp_path):
  assert results.read(tmp_path / 'none.jsonl') == []


def test_a_line_torn_by_a_kill_harms_neither_the_next_nor_the_last(tmp_path):
  path = tmp_path / 'r.jsonl'
  results.append(path, {'a': 1})
  with path.open('a') as file:
    file.write('{"a": 2, "b')
  assert results.read(path) == [{'a': 1}]
  results.append(path, {'a': 3})
  assert results.read(path) == [{'a': 1}, {'a': 3}]


def test_writing_replaces_the_file_and_leaves_nothing_beside(tmp_path):
  path = tmp_path / 'r.json'
  results.write_json(path, {'a': 1})
  results.write_json(path, {'a': 2})
  assert '2' in path.read_text()
  assert [p.name for p in tmp_path.iterdir()] == ['r.json']


def test_keeping_drops_the_other_records(tmp_path):
  path = tmp_path / 'r.jsonl'
  for a in range(4):
    results.append(path, {'a': a})
  results.keep(path, lambda record: record['a'] < 2)
  assert results.read(path) == [{'a': 0}, {'a': 1}]
