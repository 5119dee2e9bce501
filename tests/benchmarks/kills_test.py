"""The campaign of killed commands tells whole outcomes from others."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks.faults import kills, processes
from xdomain import files


def ended(text, status=1, hung=False):
  return processes.Ended(status, text, 1.0, 1, hung)


@pytest.mark.parametrize(
  ('end', 'words'),
  [
    (ended('on cpu\nerror: the disk is full\n'), ''),
    (ended('Traceback (most recent call last):\nerror: x'), 'a traceback'),
    (ended('error: one\nerror: two'), 'more than one line'),
    (ended('oh'), 'the last line is no error'),
    (ended('error: x', -9), 'ends with status -9'),
    (ended('error: x', hung=True), 'no end'),
  ],
)
def test_a_command_fails_right_with_one_line(end, words):
  assert processes.fault(end).startswith(words) and bool(words) == bool(
    processes.fault(end)
  )


def write(folder, value, seconds, number=1.0):
  files.write(folder / 'a/records.jsonl', files.line(dict(x=value, seconds=seconds)))
  files.write_json(folder / 'b.json', [dict(y=1, time='now')])
  np.savez(folder / 'test.npz', numbers=np.array([number]))
  (folder / 'a/model.safetensors').write_bytes(b'state')
  (folder / 'a/checkpoint').mkdir()
  (folder / 'a/checkpoint/1').write_text(str(seconds))
  return kills.outcome(folder)


def test_outcomes_differ_by_what_they_hold_and_not_by_their_seconds(tmp_path):
  one = write(tmp_path / 'one', 1, 2.0)
  assert set(one) == {'a/records.jsonl', 'b.json', 'test.npz', 'a/model.safetensors'}
  assert kills.differing(one, write(tmp_path / 'two', 1, 3.0)) == ''
  other = write(tmp_path / 'three', 2, 2.0)
  assert kills.differing(one, other) == 'a/records.jsonl differs'
  other = write(tmp_path / 'four', 1, 2.0, np.nextafter(1, 2))
  assert kills.differing(one, other) == 'test.npz differs'
  del other['b.json']
  assert kills.differing(one, other) == 'b.json is missing'


def test_every_harm_changes_the_file_that_it_names(tmp_path):
  seen = set()
  for seed in range(40):
    folder = tmp_path / str(seed)
    folder.mkdir()
    for name, content in (('a', b'abc'), ('b', b'def')):
      (folder / name).write_bytes(content)
    path, harm = kills._harmed(folder, random.Random(seed))
    assert path is not None
    left = path.read_bytes() if path.exists() else None
    if harm != 'swapped':
      assert left != dict(a=b'abc', b=b'def')[path.name]
    seen.add(harm)
  assert seen == set(kills.HARMS)


def test_a_damaged_test_is_refused_by_its_reader(tmp_path):
  path = tmp_path / 'test.npz'
  np.savez_compressed(path, user=np.arange(99))
  assert not kills.is_refused(path)
  path.write_bytes(path.read_bytes()[:99])
  assert kills.is_refused(path)
  path.unlink()
  assert kills.is_refused(path)


def test_a_forked_command_ends_with_its_status_and_its_text(tmp_path):
  # In a process where jax has not begun to compute.
  code = (
    'import pathlib, sys; from benchmarks.faults import processes as p\n'
    "end = p.run(['configs', '--nonsense'], pathlib.Path(sys.argv[1]))\n"
    "assert (end.status, p.fault(end)) == (2, ''), end\n"
    "assert 'nonsense' in end.text\n"
    'assert end.seconds > 0'
  )
  command = [sys.executable, '-c', code, str(tmp_path / 'log')]
  root = pathlib.Path(kills.__file__).parents[2]
  subprocess.run(command, check=True, cwd=root, timeout=60)


def run_python(code, folder):
  """Runs code in a process of its own, in a folder."""
  root = str(pathlib.Path(kills.__file__).parents[2])
  code = f'import os, sys; sys.path.insert(0, {root!r})\n' + code
  return subprocess.run([sys.executable, '-c', code], cwd=folder, timeout=60)


def test_a_process_is_killed_before_a_change_of_files(tmp_path):
  code = (
    'from benchmarks.faults import processes\n'
    'processes._count_changes(1)\n'
    "for name in 'ab':\n  open(name, 'w')"
  )
  assert run_python(code, tmp_path).returncode == -signal.SIGKILL
  assert [path.name for path in tmp_path.iterdir()] == ['a']


def test_root_too_cannot_write_to_a_folder_that_is_read_only(tmp_path):
  kills._set_writable(tmp_path, False)
  code = (
    'from benchmarks.faults import processes\n'
    'if not os.geteuid():\n  processes._drop_override()\n'
    "try:\n  open('a', 'w')\nexcept PermissionError:\n  sys.exit(3)"
  )
  assert run_python(code, tmp_path).returncode == 3
  kills._set_writable(tmp_path, True)


def test_a_small_disk_is_filled_but_for_some_bytes(tmp_path, monkeypatch):
  free = os.statvfs_result((1024, 1024, 9, 9, 5, 0, 0, 0, 0, 255))
  monkeypatch.setattr(os, 'statvfs', lambda path: free)
  with kills._filled(tmp_path, 1024):
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [4 * 1024]
  assert not list(tmp_path.iterdir())


def test_a_process_is_late_unless_it_waits_for_a_processor(monkeypatch):
  def wait_for_sleep(seconds):
    child = subprocess.Popen(['sleep', str(seconds)])
    code, _ = processes._wait(child.pid, 0.3)
    child.kill()
    child.wait()
    return code

  assert wait_for_sleep(60) is None
  began = time.monotonic()
  monkeypatch.setattr(processes, '_queued', lambda _: time.monotonic() - began)
  assert wait_for_sleep(1) == 0
