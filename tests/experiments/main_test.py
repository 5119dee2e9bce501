"""The command as a person types it: real processes, and one that is killed."""

import functools
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import pytest
from absl import flags

from experiments import arguments, program
from tests import helpers
from xdomain import files
from xdomain.runs import beside
from xdomain.runs import spec as specs

ROOT = pathlib.Path(__file__).parent.parent.parent
QUICK = '--config=configs/autorec.py:item,quick,synthetic'


def command(*flags, module='experiments.main'):
  # ml_collections loads a config in an old way; nobody else may warn.
  warnings = ['-W', 'error', '-W', 'ignore:the load_module']
  return [sys.executable, *warnings, '-m', module, *map(str, flags)]


@pytest.fixture
def environment(request, tmp_path):
  cache = request.config.cache.mkdir('jax')
  return os.environ | {
    'JAX_COMPILATION_CACHE_DIR': str(cache),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    'XDOMAIN_DATA': str(tmp_path / 'data'),
    'JAX_PLATFORMS': 'cpu',
  }


@pytest.fixture
def ask(monkeypatch, tmp_path):
  """Runs a command in this process."""
  monkeypatch.setenv('XDOMAIN_DATA', str(tmp_path / 'data'))
  return functools.partial(helpers.run_command, 'main')


@pytest.fixture
def ask_process(environment):
  """Runs a command in a process of its own."""

  def run(*flags, **options):
    return subprocess.run(
      command(*flags, **options),
      cwd=ROOT,
      env=environment,
      text=True,
      capture_output=True,
      timeout=300,
    )

  return run


def test_it_ends_with_a_table_and_is_shown_again_without_training(
  ask, ask_process, tmp_path
):
  flags = QUICK, f'--workdir={tmp_path}', '--config.epochs=2'
  first, again = ask_process(*flags), ask(*flags)
  rows = []
  for answer in (first, again):
    assert answer.returncode == 0, answer.stderr
    rows += [line for line in answer.stdout.splitlines() if ' autorec_item  ' in line]
  assert len(rows) == 2 and rows[0] == rows[1]
  assert 'ratings/s' in first.stdout
  assert 'ratings/s' not in again.stdout
  assert 'autorec_item: from its records of 20' in again.stdout


@pytest.fixture
def compilation_cache_dir():
  """Says where jax keeps compiled programs, and restores what it was."""
  before = jax.config.jax_compilation_cache_dir

  def say(folder):
    jax.config.update('jax_compilation_cache_dir', folder)

  yield say
  say(before)


@pytest.mark.parametrize('told', [None, 'elsewhere'])
def test_compiled_programs_are_kept_beside_the_data_unless_told_where(
  told, compilation_cache_dir, monkeypatch, tmp_path
):
  monkeypatch.setenv('XDOMAIN_DATA', str(tmp_path / 'data'))
  compilation_cache_dir(told)
  with program.running():
    kept = jax.config.jax_compilation_cache_dir
  assert kept == (told or str(tmp_path / 'data' / 'compiled'))


def test_where_nothing_can_be_kept_it_goes_on_without(
  compilation_cache_dir, monkeypatch, tmp_path
):
  (tmp_path / 'file').write_text('')
  monkeypatch.setenv('XDOMAIN_DATA', str(tmp_path / 'file'))
  compilation_cache_dir(None)
  with program.running():
    assert jax.config.jax_compilation_cache_dir is None


def test_commands_train_in_32_bits():
  with jax.enable_x64(True), program.running():
    assert not jax.config.jax_enable_x64


def test_what_cannot_be_trained_is_refused_before_what_stands_beside_it(ask, tmp_path):
  for name, step in (('films', 1), ('books', 3)):
    rows = [f'{u},{name}{step * u + i},5' for u in range(30) for i in range(9)]
    text = '\n'.join(['user,item,rating', *rows])
    (tmp_path / f'{name}.csv').write_text(text)
  done = ask(
    '--config=configs/shared_vae.py:aux,tables,quick',
    f'--config.data.source={tmp_path / "films.csv"}',
    f'--config.data.target={tmp_path / "books.csv"}',
    f'--workdir={tmp_path / "runs"}',
  )
  assert done.returncode == 1
  assert 'error: shared_vae_aux: it reads auxiliary vectors' in done.stderr
  assert not list((tmp_path / 'runs').iterdir())


def test_too_little_memory_is_said_in_one_line(capsys):
  with pytest.raises(SystemExit, match='1'), program.running():
    raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory')
  assert capsys.readouterr().err.startswith('error: the device has too little')
  with pytest.raises(jax.errors.JaxRuntimeError), program.running():
    raise jax.errors.JaxRuntimeError('INTERNAL: something else')


@pytest.mark.matrix
def test_a_device_that_is_not_there_is_said_in_one_line(ask_process, environment):
  environment['JAX_PLATFORMS'] = 'abacus'
  done = ask_process(QUICK)
  assert done.returncode == 1
  says = 'error: jax has no device for JAX_PLATFORMS=abacus;'
  assert done.stderr.splitlines()[-1].startswith(says)


@pytest.mark.matrix
def test_a_killed_run_ends_bit_for_bit_as_the_unbroken_one(
  ask_process, environment, tmp_path
):
  flags = QUICK, '--config.epochs=40', '--checkpoint_seconds=0'
  whole = ask_process(*flags, f'--workdir={tmp_path / "whole"}')
  assert whole.returncode == 0, whole.stderr
  broken = [*flags, f'--workdir={tmp_path / "broken"}']
  for lines in (3, 12, 20):
    process = subprocess.Popen(
      command(*broken),
      cwd=ROOT,
      env=environment,
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )
    _wait_for_lines(tmp_path / 'broken', lines, process)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
  end = ask_process(*broken)
  assert end.returncode == 0, end.stderr
  folders = [next((tmp_path / name).iterdir()) for name in ('whole', 'broken')]
  assert helpers.run_outcome(folders[0]) == helpers.run_outcome(folders[1])


def _wait_for_lines(workdir, n, process):
  """Until the run's log has so many lines."""
  deadline = time.monotonic() + 120
  while time.monotonic() < deadline:
    logs = list(workdir.glob('*/metrics.jsonl'))
    if logs and logs[0].read_text().count('\n') >= n:
      return
    assert process.poll() is None, 'the run ended before it could be killed'
    time.sleep(0.005)
  raise AssertionError('no progress')


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    ([], 'error: which config?'),
    (['--config=configs/darec.py:itm'], "did you mean 'item'"),
    (['--config=configs/darec.py:item,user'], "'item' and 'user' exclude"),
    ([QUICK, '--config.hyper.alpa=1'], "did you mean 'alpha'"),
    ([QUICK, '--config.hyper.alpha=x'], 'alpha=x: not a number'),
    ([QUICK, '--config.epochs=1e3'], 'epochs=1e3: not a whole number'),
    ([QUICK, f'--config.seed={"9" * 5000}'], '99 ... '),
    ([QUICK, '--config.data.users=-5'], 'config.data.users=-5 is below 1'),
    ([QUICK, '--config.seed.x=1'], 'config.seed is a value'),
    ([QUICK, '--config.method=autorc'], "did you mean 'autorec'"),
    ([QUICK, '--config.model.axis=usr'], "did you mean 'user'"),
    ([QUICK, '--wrkdir=x'], 'wrkdir'),
    (['--config=configs/autorec.py:tables'], "--config.data.source='' names no file"),
    ([QUICK, '--config.split.test=2'], 'config.split: test'),
    ([QUICK, '--config.protocol=leave_one_out'], 'it takes negatives'),
    ([QUICK, '--config.sweep.hyper.lr=(1.0, 1.0)'], 'of different values'),
    ([QUICK, 'config.seed=3'], "unexpected word 'config.seed=3'"),
    ([QUICK, '--config.data.kind=amazon'], "no option of 'amazon' data"),
    (['--config=configs'], 'configs is a folder'),
    (['--config=setup.cfg'], 'setup.cfg is no config: a config is a Python file'),
    ([QUICK, '--config.hyper.lr=1e30'], 'not finite in epoch 1, step'),
    ([QUICK, '--config.sweep.model.embed=(8, 0)'], 'config.model.embed is 0'),
    (
      [QUICK, '--config.sweep.model.embed=(8, 8.5)'],
      'model.embed is 8.5; it must be of type int',
    ),
    (['--config=configs/darec_table2.py'], 'this is the config of a table'),
  ],
)
def test_a_mistake_is_answered_in_one_line(ask, tmp_path, flags, message):
  answer = ask(*flags, f'--workdir={tmp_path}')
  assert answer.returncode != 0
  assert message in answer.stderr
  assert 'Traceback' not in answer.stderr
  assert len(answer.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
  'words',
  [
    '--help',
    '--config=configs/darec.py:itm',
    '--config=configs/bpr.py --config.hyper.lrr=1',
    '--config=configs/bpr.py --config.method=bqr',
    '--config=configs/bpr.py --config.data.kind=tabels',
  ],
)
def test_help_and_a_wrong_flag_import_nothing_slow(environment, words):
  code = (
    f'import sys, runpy; sys.argv = ["main", *"{words}".split()]\n'
    'try:\n  runpy.run_module("experiments.main", None, "__main__")\n'
    'except SystemExit: pass\n'
    'slow = {"jax", "flax", "polars", "scipy", "orbax"} & set(sys.modules)\n'
    'assert not slow, slow'
  )
  subprocess.run(
    [sys.executable, '-c', code],
    cwd=ROOT,
    env=environment,
    check=True,
    capture_output=True,
  )


def test_a_workdir_that_is_a_file_is_said_to_be_one(ask, tmp_path):
  (tmp_path / 'file').write_text('')
  answer = ask(QUICK, f'--workdir={tmp_path / "file"}')
  assert answer.returncode == 1
  assert answer.stderr.startswith('error: ') and 'file' in answer.stderr
  assert 'Traceback' not in answer.stderr


def test_what_is_shown_beside_has_the_same_budget():
  config = arguments.load(str(ROOT / 'configs/darec.py:item,quick,synthetic'))
  config.epochs, config.patience, config.seed = 7, 6, 5
  own, others = beside.specs_of(config)
  assert len(others) == 2
  for other in others:
    assert (other.epochs, other.patience, other.seed) == (7, 6, 5)
    assert other.data == own.data


def test_own_files_are_read_and_their_ids_kept(ask, tmp_path):
  for name, step in (('source', 7), ('target', 6)):
    rows = [
      (f'person{u}', f'thing{(u * step + i * 3) % 20}', 1 + (u + i) % 5)
      for u in range(40)
      for i in range(12)
    ]
    lines = ['who,what,stars', *(f'{u},{name}{i},{r}' for u, i, r in rows)]
    (tmp_path / f'{name}.csv').write_text('\n'.join(lines) + '\n')
  answer = ask(
    '--config=configs/autorec.py:item,tables,quick',
    f'--config.data.source={tmp_path / "source.csv"}',
    f'--config.data.target={tmp_path / "target.csv"}',
    '--config.data.user=who',
    '--config.data.item=what',
    '--config.data.rating=stars',
    f'--workdir={tmp_path / "runs"}',
  )
  assert answer.returncode == 0, answer.stderr
  assert '40 users' in answer.stdout


@pytest.mark.matrix
def test_a_search_is_kept_and_its_choice_tested_on_seeds_at_once(ask, tmp_path):
  flags = [
    QUICK,
    f'--workdir={tmp_path / "runs"}',
    f'--keep={tmp_path / "kept"}',
    '--config.epochs=2',
    '--config.patience=2',
    '--config.search.trials=2',
  ]
  ours = functools.partial(helpers.run_command, 'tune', *flags)
  for said in 'the search is kept in', 'the search is read from':
    answer = ours('--seeds=2', '--config.width=2')
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count(said) == 2  # Each seed has its own search.
  (folder,) = (tmp_path / 'runs').glob('*-tuned2-*')
  records = files.read(folder / 'records.jsonl')
  assert [record['seed'] for record in records] == [0, 1]
  kept = sorted((tmp_path / 'kept').glob('*.json'))
  found = [json.loads(path.read_text()) for path in kept]
  assert len(found) == 2
  assert all(record['search'] in found for record in records)

  for path, search in zip(kept, found):
    search['trials'][0]['hyper']['offset'] = 3e38
    path.write_text(json.dumps(search))
  answer = ours('--seeds=2', '--config.width=2')
  assert answer.returncode == 1
  assert 'autorec_item diverged with seed 0, 1' in answer.stderr


def test_an_option_without_a_value_is_refused():
  assert arguments.options(['scale=(1, 10)', 'user=ann']) == dict(
    scale=(1, 10), user='ann'
  )
  with pytest.raises(specs.SpecError, match=r"'at_least' has no value; .* at_least="):
    arguments.options(['at_least'])


def test_several_flags_that_are_missing_are_one_line(monkeypatch, capsys):
  def missing(argv):
    del argv
    raise flags.Error('flag --run=None\nflag --out=None')

  monkeypatch.setattr(flags, 'FLAGS', missing)
  with pytest.raises(SystemExit):
    arguments.parse_plain(['export'])
  assert capsys.readouterr().err == 'error: flag --run=None; flag --out=None\n'
