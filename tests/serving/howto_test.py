"""The commands of docs/howto/serve.md, in their order, by a reader with two files."""

import contextlib
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


HERE = {
  'PYTHONPATH': str(ROOT),
  'PATH': f'{pathlib.Path(sys.executable).parent}:{os.environ["PATH"]}',
}


def bash(text, folder, env=HERE) -> list[str]:
  """The lines that commands print; a failing command fails the test."""
  run = subprocess.run(
    ['bash', '-ec', text],
    cwd=folder,
    env=os.environ | env,
    capture_output=True,
    text=True,
  )
  assert run.returncode == 0, run.stdout + run.stderr
  return run.stdout.splitlines()


@contextlib.contextmanager
def serving(command, folder, n_ports=1, env=HERE):
  """The ports of a service that a command starts, which ends in the end."""
  process = subprocess.Popen(
    ['bash', '-c', f'exec {command}'],
    cwd=folder,
    env=os.environ | env,
    stdout=subprocess.PIPE,
    text=True,
  )
  try:
    yield [re.search(r':(\d+)', process.stdout.readline())[1] for _ in range(n_ports)]
  finally:
    process.terminate()
    assert process.wait(60) == 0
    process.stdout.close()


def test_two_files_become_a_service_that_takes_a_new_week(tmp_path):
  for name in ('films.csv', 'books.csv'):
    shutil.copy(ROOT / 'docs/examples' / name, tmp_path)
  bash(block('train and export'), tmp_path)
  start = block('start').replace('8000', '0').replace('8001', '0')
  with serving(start, tmp_path, 2) as ports:

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


@pytest.mark.slow
def test_the_demo_trains_two_models_and_serves_them(tmp_path):
  command = block('demo').strip() + ' --nobrowser --port=0'
  with serving(command, tmp_path) as (port,):
    ask = json.dumps({'source': ['Matrix, The (1999)'], 'k': 2, 'explain': True})
    health, answer = bash(
      f'curl -s 127.0.0.1:{port}/health; echo; curl -s 127.0.0.1:{port}/recommend'
      f" --json '{ask}'",
      tmp_path,
    )
  names = [model['name'] for model in json.loads(health)['models']]
  assert names == ['shared_vae_cold', 'ease']
  first, _ = json.loads(answer)['items']
  assert first['why'][0]['item'] == 'Matrix, The (1999)'


@pytest.mark.slow
def test_a_server_needs_no_training_code(tmp_path):
  for name in ('films.csv', 'books.csv'):
    shutil.copy(ROOT / 'docs/examples' / name, tmp_path)
  bash(block('train and export'), tmp_path)
  subprocess.run(['git', 'clone', '-q', ROOT, tmp_path / 'clone'], check=True)
  subprocess.run([sys.executable, '-m', 'venv', tmp_path / 'venv'], check=True)
  env = {'PATH': f'{tmp_path / "venv/bin"}:{os.environ["PATH"]}', 'PYTHONPATH': ''}
  bash(block('server'), tmp_path / 'clone', env)
  start = 'xdomain serve --artefact=exported --port=0'
  with serving(start, tmp_path, env=env) as (port,):
    (answer,) = bash(
      f'curl -s 127.0.0.1:{port}/recommend --json \'{{"user": "ann"}}\'', tmp_path
    )
  assert json.loads(answer)['items']
  packages = os.listdir(next((tmp_path / 'venv/lib').glob('*/site-packages')))
  assert not {'flax', 'optax', 'polars', 'orbax'} & set(packages)
