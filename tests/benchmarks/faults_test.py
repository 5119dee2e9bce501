import pytest

from benchmarks.faults import inputs as faults


def test_damaged_inputs_are_read_right_or_refused(tmp_path):
  wrong, seen = [], set()
  for number in range(300):
    name, data = faults.an_input(17, number)
    verdict = faults.judge(name, data, tmp_path)
    seen.add(verdict.word)
    if verdict.word == 'WRONG':
      wrong.append((number, name, verdict.why))
  assert not wrong
  assert seen == {'equal', 'altered', 'refused'}


def test_a_reader_that_loses_rows_is_caught(tmp_path, monkeypatch):
  honest = faults.READERS['table']

  def lossy(path):
    table = honest(path)
    return table._replace(duplicates=table.duplicates - 1)

  monkeypatch.setitem(faults.READERS, 'table', lossy)
  verdict = faults.judge('csv', faults.text(), tmp_path)
  assert verdict == ('WRONG', '39 rows are read of 40')
  small = faults.smallest('csv', faults.text(), tmp_path)
  assert len(small) < 60


@pytest.mark.parametrize('error', [RuntimeError('x'), MemoryError(), UnicodeError('y')])
def test_other_exceptions_are_wrong(tmp_path, monkeypatch, error):
  def fails(path):
    raise error

  monkeypatch.setitem(faults.READERS, 'table', fails)
  verdict = faults.judge('csv', faults.text(), tmp_path)
  assert verdict.word == 'WRONG' and type(error).__name__ in verdict.why


@pytest.mark.parametrize('name', faults.KINDS)
def test_an_input_without_damage_is_read(tmp_path, name):
  kind = faults.KINDS[name]
  verdict = faults.judge(name, kind.made(), tmp_path)
  words = {'reviews json': 'equal', 'reviews gzip': 'equal', 'pickled pair': 'refused'}
  word = words.get(name, 'equal' if kind.plain else 'altered')
  assert verdict.word == word, verdict
