"""Commands over tables, searches and records, as a shell runs them."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from tests import helpers
from xdomain import files

TINY = [f'--config.data.{name}={value}' for name, value in helpers.TINY.items()]


def write(path, *records):
  files.write(path, ''.join(map(files.line, records)))
  return str(path)


def test_a_summary_of_ratings_and_rankings_prints_two_tables(tmp_path):
  rated = [helpers.rating_record('bias', s, 1 + s / 10) for s in range(2)]
  ranked = [helpers.ranking_record('ease', s, 0.5) for s in range(3)]
  path = write(tmp_path / 'records.jsonl', *rated, *ranked)
  answer = helpers.run_command('summary', path)
  assert answer.returncode == 0, answer.stderr
  first, second = answer.stdout.split('\n\n')
  assert '| bias | 2 | 1.0500 (0.9500 to 1.1500 over users) |' in first
  assert 'ease' not in first and 'RMSE' not in second
  assert '| ease | 3 | 0.5000 (0.5000 to 0.5000) |' in second


def test_a_summary_of_a_wrong_file_is_one_line(tmp_path):
  (tmp_path / 'r.jsonl').write_text('{"name": "a"}\n')
  answer = helpers.run_command('summary', str(tmp_path / 'r.jsonl'))
  assert answer.returncode == 1 and not answer.stdout
  assert answer.stderr.startswith('error: ') and answer.stderr.count('\n') == 1
  assert "line 1 is not a record of a run: 'config' is missing" in answer.stderr


def test_claims_are_decided_by_kept_records(tmp_path):
  places = [
    helpers.rating_record(row, seed, rmse + seed / 100) | {'row': row, 'column': '90 %'}
    for row, rmse in (('U-DARec', 0.8), ('U-AutoRec', 0.9))
    for seed in range(3)
  ]
  write(tmp_path / 'darec_table2' / 'records.jsonl.xz', *places)
  answer = helpers.run_command('claims', f'--results={tmp_path}')
  assert answer.returncode == 0, answer.stderr
  assert 'U-DARec over U-AutoRec, 90 %: 0.1000 (0.1000 to 0.1000)' in answer.stdout
  assert (tmp_path / 'claims.md').read_text() == answer.stdout[:-1]


def test_a_table_is_made_and_listed_by_its_command(tmp_path):
  flags = [
    '--config=configs/darec_table2.py:quick,synthetic',
    *TINY,
    "--config.rows=('bias',)",
    "--config.columns=('90 %',)",
    f'--workdir={tmp_path / "runs"}',
    f'--results={tmp_path / "results"}',
  ]
  answer = helpers.run_command('table', *flags)
  assert answer.returncode == 0, answer.stderr
  text = (tmp_path / 'results/darec_table2_synthetic_quick/table.md').read_text()
  assert '| method | RMSE |' in text and text in answer.stdout
  assert "--config.data.users=40 \\\n  '--config.rows=(" in text.replace('"', "'")


NEVER_RUN = {f'configs/{name}_table.py' for name in ('genre', 'ratings')}


@pytest.mark.matrix
def test_no_table_of_movielens_misses_a_record():
  """Records stay valid: whatever decides a run has not changed since."""
  answer = helpers.run_command('table', '--list', '--workdir=none')
  assert answer.returncode == 0, answer.stderr
  rows = [line.split() for line in answer.stdout.splitlines() if 'movielens' in line]
  rows = [row for row in rows if row[0] not in NEVER_RUN]
  assert len(rows) == 13
  for name, runs, missing, *_ in rows:
    assert (int(runs) > 0, missing) == (True, '0'), name


def test_an_audit_is_printed_and_written_and_its_status_tells_of_faults(tmp_path):
  answer = helpers.run_command(
    'audit', '--config=ease:synthetic', f'--out={tmp_path / "a.json"}'
  )
  assert answer.returncode == 0, answer.stderr
  assert json.loads((tmp_path / 'a.json').read_text())['faults'] == []
  assert '0 faults' in answer.stdout
  users = [f'u{n}' for n in range(30)]
  films = [(u, f'f{(n + k) % 29}') for n, u in enumerate(users) for k in range(6)]
  books = [(u, f'b{(n * k) % 31}') for n, u in enumerate(users) for k in range(1, 7)]
  films += [(u, 'b3 as a film') for u, item in books if item == 'b3']
  for name, rows in (('films', films), ('books', books)):
    text = '\n'.join(['user,item', *(','.join(row) for row in rows)])
    (tmp_path / f'{name}.csv').write_text(text)
  files = [f'--source={tmp_path}/films.csv', f'--target={tmp_path}/books.csv']
  files += ['--data=rating=', '--data=at_least=2']
  answer = helpers.run_command('audit', *files, '--data=twins=keep')
  assert answer.returncode == 3, answer.stderr
  assert 'twins: b3 as a film and b3, Jaccard 1.000' in answer.stdout
  answer = helpers.run_command('audit', *files)
  assert answer.returncode == 0, answer.stderr + answer.stdout
  answer = helpers.run_command('audit', '--config=easy')
  assert answer.returncode == 1 and answer.stderr.count('\n') == 1


def test_commands_run_from_any_folder(tmp_path):
  root = pathlib.Path(helpers.__file__).parents[1]
  ended = subprocess.run(
    [sys.executable, '-m', 'experiments.cli', 'main', '--config=darec:itm'],
    cwd=tmp_path,
    env=os.environ | {'PYTHONPATH': str(root)},
    capture_output=True,
    text=True,
    timeout=60,
  )
  assert ended.returncode == 2 and "did you mean 'item'" in ended.stderr


def test_items_of_the_target_in_the_source_change_no_result(tmp_path):
  """Films hold every row of the books, too; held-out rows must not be trained on."""
  header, films, books = 'user,item,rating\n', '', ''
  for n in range(40):
    films += ''.join(f'u{n},f{(3 * n + 5 * k) % 17},{1 + k % 5}\n' for k in range(8))
    books += ''.join(f'u{n},b{(4 * n + 7 * k) % 19},{1 + k % 5}\n' for k in range(8))
  contents = dict(films=films, leaky=films + books, books=books)
  for name, text in contents.items():
    (tmp_path / f'{name}.csv').write_text(header + text)
  rows = []
  for source in ('films', 'leaky'):
    answer = helpers.run_command(
      'main',
      '--config=configs/item_knn.py:tables,quick',
      f'--config.data.source={tmp_path}/{source}.csv',
      f'--config.data.target={tmp_path}/books.csv',
      '--config.data.at_least=2',
      '--config.data.positive=2.0',
      f'--workdir={tmp_path / "runs"}',
    )
    assert answer.returncode == 0, answer.stderr
    says = 'less 320 interactions that are also in the target'
    assert (says in answer.stdout) == (source == 'leaky')
    (table,) = re.findall(r'^ +item_knn +(.*)$', answer.stdout, re.M)[:1]
    rows.append(table)
  assert rows[0] == rows[1]


@pytest.mark.parametrize(
  'words',
  ['main --help', '', pytest.param('summary {records}', marks=pytest.mark.matrix)],
)
def test_a_reader_that_stops_reading_ends_a_command_quietly(words, tmp_path, request):
  records = write(tmp_path / 'r.jsonl', helpers.rating_record('bias', 0, 1.0))
  command = [sys.executable, '-m', 'experiments.cli']
  ended = subprocess.Popen(
    [*command, *words.format(records=records).split()],
    cwd=request.config.rootpath,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
  )
  assert ended.stdout and ended.stderr
  ended.stdout.close()
  with ended.stderr:
    assert ended.stderr.read() == b''
  assert ended.wait(60) in (0, 2)
