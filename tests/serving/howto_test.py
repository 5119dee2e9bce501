"""The commands of docs/howto/serve.md, in their order, by a reader with two files."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / 'docs/howto/serve.md').read_text('utf-8')

pytestmark = [
  pytest.mark.matrix,
  pytest.mark.skipif(shutil.which('curl') is None, reason='curl is missing'),
]


def block(part) -> str:
  """The block of the page with a mark, as bash can run it here."""
  (found,) = re.findall(rf'<!-- serve: {part} -->\n```\w+\n(.*?)```', PAGE, re.DOTALL)
  return re.sub(
    r'^xdomain ', f'{sys.executable} -m experiments.cli ', found, flags=re.M
  )


def bash(text, folder) -> list[str]:
  """The lines that commands print; a failing command fails the test."""
  run = subprocess.run(
    ['bash', '-ec', text],
    cwd=folder,
    env=os.environ | {'PYTHONPATH': str(ROOT)},
    capture_output=True,
    text=True,
  )
  assert run.returncode == 0, run.stdout + run.stderr
  return run.stdout.splitlines()


def test_two_files_become_a_service_that_takes_a_new_week(tmp_path):
  for name in ('films.csv', 'books.csv'):
    shutil.copy(ROOT / 'docs/examples' / name, tmp_path)
  bash(block('train and export'), tmp_path)
  start = block('start').replace('8000', '0').replace('8001', '0')
  process = subprocess.Popen(
    ['bash', '-c', f'exec {start}'],
    cwd=tmp_path,
    env=os.environ | {'PYTHONPATH': str(ROOT)},
    stdout=subprocess.PIPE,
    text=True,
  )
  try:
    ports = [re.search(r':(\d+)', process.stdout.readline())[1] for _ in range(2)]

    def here(part):
      text = block(part)
      for old, port in zip(('8000', '8001'), ports):
        text = text.replace(f'localhost:{old}', f'127.0.0.1:{port}')
      # An answer has no line end of its own.
      return re.sub(r'^(curl .*)$', r'\1; echo', text, flags=re.M)

    new, known, similar, found, health, *metrics = bash(here('ask'), tmp_path)
    for answer in (new, known, similar):
      assert len(json.loads(answer)['items']) == 3
    assert json.loads(new)['items'][0]['why'][0]['contribution'] > 0
    assert json.loads(found)['items']
    (before,) = json.loads(health)['models']
    assert 'xdomain_requests_total{path="/recommend",status="200"} 2' in metrics
    lines = [
      f'ann,A new book,5\nbob,A new book,5\nnew{n},A new book,4' for n in range(3)
    ]
    (tmp_path / 'week.csv').write_text('\n'.join(lines) + '\n')
    *_, swapped = bash(here('swap'), tmp_path)
    (after,) = json.loads(swapped)['models']
    assert after['version'] != before['version']
    assert after['target_items'] == before['target_items'] + 1
    shutil.copy(tmp_path / 'exported' / 'portable.py', tmp_path)
    (tmp_path / 'alone.py').write_text(block('portable'))
    printed = bash(f'cd exported && {sys.executable} ../alone.py', tmp_path)
    assert len(printed) == 2 and all(line.startswith('[') for line in printed)
  finally:
    process.terminate()
    assert process.wait(60) == 0
    process.stdout.close()
