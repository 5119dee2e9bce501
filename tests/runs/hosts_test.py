"""Two processes on this machine train as one, and outlive each other as they should."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import chex
import numpy as np
import pytest
from safetensors import numpy as safetensors

from xdomain.runs import hosts

ROOT = pathlib.Path(__file__).parent.parent.parent
PAGE = ROOT / 'docs/howto/clusters.md'


def test_a_process_on_its_own_meets_nobody(tmp_path):
  assert hosts.first()
  assert hosts.any_of(False, True) == (False, True)
  with hosts.own_folder(tmp_path) as folder:
    assert folder == tmp_path
  assert not hosts.lost(RuntimeError('Gloo: Connection closed by peer'))


def test_the_script_for_slurm_is_a_shell_script():
  (script,) = re.findall(r'^```bash\n(#!.*?)^```', PAGE.read_text(), re.M | re.S)
  subprocess.run(['bash', '-n'], input=script, text=True, check=True)


def test_the_manifest_for_kubernetes_names_its_parts_alike():
  yaml = pytest.importorskip('yaml')
  (text,) = re.findall(r'^```yaml\n(.*?)^```', PAGE.read_text(), re.M | re.S)
  service, job = yaml.safe_load_all(text)
  assert service['spec']['selector'] == {'job-name': job['metadata']['name']}
  pod = job['spec']['template']['spec']
  assert pod['subdomain'] == service['metadata']['name']
  (container,) = pod['containers']
  address = f'{job["metadata"]["name"]}-0.{pod["subdomain"]}'
  (port,) = container['ports']
  command = container['command'][-1]
  assert f'--coordinator={address}:{port["containerPort"]}' in command
  assert f'--processes={job["spec"]["completions"]}' in command
  mounted = {mount['name'] for mount in container['volumeMounts']}
  assert mounted == {volume['name'] for volume in pod['volumes']}


FILES = '--config.data.source=films.csv', '--config.data.target=books.csv'
TABLES = f'--config={ROOT}/configs/pmf.py:quick,tables', *FILES


def write_files(folder):
  """Ratings of the same users in two files."""
  rng = np.random.default_rng(0)
  folder.mkdir()
  for name in ('films.csv', 'books.csv'):
    cells = rng.permutation(400 * 60)[:8000]
    lines = (
      f'u{cell // 60},i{cell % 60},{1 + (cell % 60 + stars) % 5}'
      for cell, stars in zip(cells, rng.integers(2, size=cells.size))
    )
    (folder / name).write_text('\n'.join(['user,item,rating', *lines]))


def start(cache, workdir, count, *flags, folders=(ROOT,)):
  """`count` processes of one run, or a process on its own.

  Args:
    cache: of compiled programs.
    workdir: of all processes.
    count: of processes.
    *flags: of the command.
    folders: that the first process, the second ... work in; the last for all others.
  """
  with socket.socket() as probe:
    probe.bind(('localhost', 0))
    port = probe.getsockname()[1]
  environment = os.environ | {
    'JAX_PLATFORMS': 'cpu',
    'JAX_COMPILATION_CACHE_DIR': str(cache),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    'XDOMAIN_DATA': str(workdir / 'data'),
    'PYTHONPATH': str(ROOT),
  }
  words = '-m', 'experiments.main', f'--workdir={workdir}'
  common = [sys.executable, *words, *flags]
  among = [f'--coordinator=localhost:{port}', f'--processes={count}']
  return [
    subprocess.Popen(
      [*common, *(among if count > 1 else []), *([f'--process={at}'] * (count > 1))],
      cwd=folders[min(at, len(folders) - 1)],
      env=environment,
      text=True,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
    )
    for at in range(count)
  ]


def ended(processes, seconds=300):
  """Status, output and errors of each process."""
  answers = [process.communicate(timeout=seconds) for process in processes]
  return [(p.returncode, *answer) for p, answer in zip(processes, answers)]


def wait(processes, happened):
  """Returns when something has happened, while all processes run."""
  deadline = time.monotonic() + 200
  while not happened():
    assert all(process.poll() is None for process in processes), ended(processes)
    assert time.monotonic() < deadline
    time.sleep(0.01)


def end(processes):
  """Kills the processes that are left, and closes their pipes."""
  for process in processes:
    process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()


def outcome(workdir):
  """Epoch, measure, predictions and state of the one run in a folder."""
  (folder,) = (path.parent for path in workdir.glob('pmf-seed*/records.jsonl'))
  record = json.loads((folder / 'records.jsonl').read_text())
  with np.load(folder / 'test.npz') as test:
    state = safetensors.load_file(folder / 'model/model.safetensors')
    return record['epoch'], record['test']['rmse'], test['rating'], state


@pytest.mark.matrix
@pytest.mark.parametrize('count', [2, 4])
def test_several_processes_train_as_one(tmp_path, pytestconfig, count):
  cache = pytestconfig.cache.mkdir('jax')
  flags = *TABLES, '--config.epochs=4', '--config.patience=4'
  alone, several, data = (tmp_path / name for name in ('alone', 'several', 'data'))
  write_files(data)
  (one,) = ended(start(cache, alone, 1, *flags, folders=(data,)))
  assert one[0] == 0, one
  (several / 'shared-by-a-killed-run').mkdir(parents=True)
  # The others find no data files.
  processes = start(cache, several, count, *flags, folders=(data, tmp_path))
  first, *others = ended(processes)
  assert first[0] == 0, first
  assert 'mesh: ' in first[1]
  for status, out, err in others:
    printed = [line for line in out.splitlines() if not line.startswith('[Gloo]')]
    assert (status, printed) == (0, []), err
  assert len(list(several.glob('pmf-seed*'))) == 1
  assert not list(several.glob('shared-*'))
  epoch, rmse, ratings, state = outcome(several)
  expected = outcome(alone)
  assert epoch == expected[0]
  assert rmse == pytest.approx(expected[1], rel=1e-5)
  np.testing.assert_allclose(ratings, expected[2], atol=1e-4)
  chex.assert_trees_all_close(state, expected[3], atol=1e-4)


@pytest.mark.matrix
def test_an_error_in_the_data_ends_all_processes(tmp_path, pytestconfig):
  cache = pytestconfig.cache.mkdir('jax')
  first, second = ended(start(cache, tmp_path, 2, *TABLES, folders=(tmp_path,)))
  for status, _, err in (first, second):
    assert status == 1, err
    assert err.startswith('error: films.csv: there is no such file'), err
  assert not list(tmp_path.glob('shared-*'))


@pytest.mark.matrix
def test_a_process_that_is_killed_while_it_prepares_ends_the_others(
  tmp_path, pytestconfig
):
  cache = pytestconfig.cache.mkdir('jax')
  write_files(tmp_path / 'data')
  folders = tmp_path / 'data', tmp_path
  processes = start(cache, tmp_path, 2, *TABLES, folders=folders)
  try:
    wait(processes, lambda: list(tmp_path.glob('shared-*/lock')))
    processes[0].kill()
    ((status, _, err),) = ended(processes[1:], 60)
    assert status != 0
    # Ours, or that of jax, which ends a process whose coordinator has died.
    assert 'the same command resumes' in err or 'another task died' in err
  finally:
    end(processes)
  assert not list(tmp_path.glob('pmf-seed*/records.jsonl'))
  assert list(tmp_path.glob('shared-*'))  # The next run removes it.


@pytest.mark.matrix
def test_a_run_outlives_a_process_that_is_killed(tmp_path, pytestconfig):
  cache = pytestconfig.cache.mkdir('jax')
  flags = '--config.epochs=4000', '--config.patience=4000', '--checkpoint_seconds=0'
  flags = '--config=configs/pmf.py:quick,synthetic', *flags
  processes = start(cache, tmp_path, 2, *flags)
  try:
    wait(processes, lambda: list(tmp_path.glob('pmf-seed*/checkpoint/[0-9]*')))
    processes[1].send_signal(signal.SIGKILL)
    ((status, _, err),) = ended(processes[:1], 60)
    assert status != 0
    assert 'the same command resumes' in err
  finally:
    end(processes)

  def checkpoints():
    return {path.name for path in tmp_path.glob('pmf-seed*/checkpoint/*')}

  saved = checkpoints()
  processes = start(cache, tmp_path, 2, *flags)
  try:
    wait(processes, lambda: not saved & checkpoints())
    processes[1].terminate()  # A signal to one stops both.
    for status, _, err in ended(processes, 60):
      assert status == 130, err
  finally:
    end(processes)
