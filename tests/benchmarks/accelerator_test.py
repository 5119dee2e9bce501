"""The accelerator benchmark, rehearsed at toy size, and without polars."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import accelerator


def run(*arguments, **environment):
  return subprocess.run(
    [sys.executable, '-m', 'benchmarks.accelerator', *arguments],
    env=os.environ | {'JAX_PLATFORMS': 'cpu'} | environment,
    capture_output=True,
    text=True,
  )


@pytest.fixture
def without_polars(tmp_path):
  """An environment in which polars cannot be imported."""
  (tmp_path / 'polars').mkdir()
  (tmp_path / 'polars' / '__init__.py').write_text('raise ImportError("no polars")')
  path = os.pathsep.join([str(tmp_path), str(pathlib.Path.cwd())])
  return {'PYTHONPATH': path}


def test_the_report_has_every_part_and_needs_no_polars(tmp_path, without_polars):
  out = tmp_path / 'report.md'
  ended = run('--toy', '--parts=ceilings,bpr', f'--out={out}', **without_polars)
  assert ended.returncode == 0, ended.stderr
  text = out.read_text()
  assert 'copy, read and written' in text
  assert text.count('triples/s') == 3
  assert 'exit code 0' in text and 'failed' not in text and 'Traceback' not in text


def test_a_part_that_takes_too_long_is_cut_off_and_what_it_wrote_is_kept(tmp_path):
  out = tmp_path / 'report.md'
  run('--toy', '--parts=ceilings,ials', '--total=6', '--limit=1', f'--out={out}')
  assert 'cut off at the limit' in out.read_text()


def test_an_unknown_part_is_an_error():
  ended = run('--parts=celings')
  assert ended.returncode != 0 and "no part is called 'celings'" in ended.stderr


def test_planted_positives_are_distinct_and_within_the_sizes():
  pair = accelerator.positives(users=30, source=20, target=40, n=300)
  for domain, items in ((pair.source, 20), (pair.target, 40)):
    cells = domain.user.astype(int) * items + domain.item
    assert np.unique(cells).size == cells.size > 100
    assert domain.user.max() < 30 and domain.item.max() < items
