"""Breaks the package on purpose, one mistake at a time, and names the test that fails.

    python -m tests.planted > results/benchmarks/planted.md

Each mistake is planted in a scratch copy, where the tests beside it run until the
first one fails: those of the default suite, then those of the matrix. A mistake that no
test notices is printed as missed, and the exit status is 1.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

ROOT = pathlib.Path(__file__).parent.parent


class Mistake(NamedTuple):
  """A change of one place, and the tests that should notice it."""

  kind: str
  path: str  # in xdomain/
  right: str
  wrong: str
  tests: str  # in tests/


MISTAKES = (
  Mistake(
    'a sign: the adversary helps',
    'ops/reversal.py',
    '-strength * g',
    'strength * g',
    'ops/reversal_test.py',
  ),
  Mistake(
    'a sign in the divergence of a latent',
    'ops/variational.py',
    'jnp.expm1(logvar) - logvar',
    'jnp.expm1(logvar) + logvar',
    'ops/variational_test.py',
  ),
  Mistake(
    'a factor of a gradient',
    'ops/sparse.py',
    'slope = 2 * e.weight * error',
    'slope = e.weight * error',
    'ops/sparse_test.py',
  ),
  Mistake(
    'a mask: padding adds to the error',
    'ops/sparse.py',
    'e.weight * (output - e.value)',
    '(output - e.value)',
    'ops/sparse_test.py',
  ),
  Mistake(
    'off by one: negatives may be positives',
    'ops/sampling.py',
    'c - low - at <= rank',
    'c - low - at < rank',
    'ops/sampling_test.py',
  ),
  Mistake(
    'a batch has no room for the longest row',
    'ops/sampling.py',
    'average + longest',
    'average',
    'ops/sampling_test.py',
  ),
  Mistake(
    'a score that is not a number ranks first',
    'evaluation/rankings.py',
    '~(scores < held) & other',
    '(scores > held) & other',
    'evaluation/rankings_test.py',
  ),
  Mistake(
    'items that a user has are ranked again',
    'evaluation/rankings.py',
    "set(False, mode='drop')",
    "set(True, mode='drop')",
    'evaluation/rankings_test.py',
  ),
  Mistake(
    'off by one: the discount of a place',
    'evaluation/rankings.py',
    'np.log2(place + 2)',
    'np.log2(place + 3)',
    'evaluation/rankings_test.py',
  ),
  Mistake(
    'a missing clip to the scale',
    'evaluation/ratings.py',
    'return jnp.clip(filled, *scale)',
    'return filled',
    'evaluation/ratings_test.py',
  ),
  Mistake(
    'a leak: validation items are trained on',
    'data/splits.py',
    '~(test | validation)',
    '~test',
    'data/splits_test.py',
  ),
  Mistake(
    'a leak: cold-start users to validate are trained on',
    'data/splits.py',
    'group == 0)),\n    **to_rank(draws, target, group',
    'group != 2)),\n    **to_rank(draws, target, group',
    'data/splits_test.py',
  ),
  Mistake(
    'a seed that nothing depends on',
    'data/splits.py',
    'np.random.SeedSequence(seed)',
    'np.random.SeedSequence(0)',
    'data/splits_test.py',
  ),
  Mistake(
    'a wrong fold_in: stages share their keys',
    'training/loop.py',
    'at = progress.stage, epoch',
    'at = 0, epoch',
    'training/loop_test.py',
  ),
  Mistake(
    'off by one: patience',
    'training/loop.py',
    'waited >= patience',
    'waited > patience',
    'training/loop_test.py',
  ),
  Mistake(
    'of equal epochs the last is kept',
    'training/loop.py',
    'value < progress.best_value',
    'value <= progress.best_value',
    'training/loop_test.py',
  ),
  Mistake(
    'a swapped domain: validation',
    'training/loop.py',
    "if stage.domain == 'source'",
    "if stage.domain == 'target'",
    'training/loop_test.py',
  ),
  Mistake(
    'a swapped domain: the mirrored pair',
    'base.py',
    'Arrays(self.target, self.source, side)',
    'Arrays(self.source, self.target, side)',
    'data/device_test.py training/loop_test.py',
  ),
  Mistake(
    'a learning rate that is not followed',
    'stages.py',
    'p - hyper.lr * u',
    'p - 0.001 * u',
    'training/loop_test.py',
  ),
  Mistake(
    'a hyper-parameter that nothing depends on',
    'models/bias.py',
    'rows.length + penalty',
    'rows.length + 4.0',
    'models/contract_test.py -k bias',
  ),
  Mistake(
    'a Python branch on a hyper-parameter',
    'models/bias.py',
    '    item = _ridge(',
    '    assert hyper.penalty > 0\n    item = _ridge(',
    'models/contract_test.py -k bias',
  ),
  Mistake(
    'scores that depend on the other users of a batch',
    'models/bias.py',
    'return state.mean + state.user[users]',
    'return state.mean + state.user[users] - jnp.mean(state.user[users])',
    'models/contract_test.py -k bias',
  ),
  Mistake(
    'no data, no number: a user without ratings',
    'models/bias.py',
    'jnp.maximum(rows.length + penalty, 1e-6)',
    'jnp.where(rows.length > 0, rows.length + penalty, 0)',
    'models/contract_test.py -k bias',
  ),
  Mistake(
    'an item that predicts itself',
    'models/ease.py',
    'jnp.where(itself, 0, -shared / own)',
    '-shared / own',
    'models/ease_test.py',
  ),
  Mistake(
    'a file that is written in place',
    'files.py',
    "path.with_name(f'{path.name}.{os.getpid()}.part')",
    'path',
    'files_test.py',
  ),
  Mistake(
    'a lock that is not taken',
    'files.py',
    'fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)',
    'fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)',
    'runs/run_test.py -k second_process',
  ),
  Mistake(
    'the checkpoint of another configuration',
    'training/checkpoint.py',
    'if saved.get(name) != wanted.get(name)',
    'if saved.get(name) is wanted.get(name) is None',
    'training/checkpoint_test.py',
  ),
)


SUITES = {'default': [], 'matrix': ['-m', 'matrix and not slow']}
NO_TESTS = 5  # pytest's exit status.


def first_failure(copy: pathlib.Path, tests: str, suite: str) -> str | None:
  """The first test of a suite that fails in a copy; None if all pass."""
  files, *options = tests.split(' -k ')
  words = [*SUITES[suite], *(f'tests/{file}' for file in files.split())]
  words += ['-k', *options] if options else []
  command = [sys.executable, '-m', 'pytest', '-q', '-x', '-n', '0', *words]
  run = subprocess.run(command, cwd=copy, capture_output=True, text=True)
  if run.returncode in (0, NO_TESTS):
    return None
  failed = re.search(r'^(?:FAILED|ERROR) (\S+?)(?:\[.*)?(?: - .*)?$', run.stdout, re.M)
  if not failed:
    raise RuntimeError(run.stdout + run.stderr)
  return failed[1].removeprefix('tests/')


def main() -> int:
  """Prints the table; returns 1 if a mistake is missed, 0 otherwise."""
  missed = 0
  print('| mistake | in | suite | noticed by | seconds |\n|---|---|---|---|---|')
  with tempfile.TemporaryDirectory() as folder:
    copy = pathlib.Path(folder) / 'copy'
    subprocess.run(['git', 'clone', '-q', ROOT, copy], check=True)
    os.environ['PYTHONDONTWRITEBYTECODE'] = '1'
    for mistake in MISTAKES:
      path = copy / 'xdomain' / mistake.path
      text = path.read_text()
      if mistake.right not in text:
        raise LookupError(f'{mistake.path} has no {mistake.right!r} to break')
      path.write_text(text.replace(mistake.right, mistake.wrong))
      began = time.monotonic()
      found = (
        (suite, test)
        for suite in SUITES
        if (test := first_failure(copy, mistake.tests, suite))
      )
      suite, test = next(found, ('none', '**missed**'))
      path.write_text(text)
      missed += suite == 'none'
      seconds = time.monotonic() - began
      print(
        f'| {mistake.kind} | `{mistake.path}` | {suite} | `{test}` | {seconds:.0f} |',
        flush=True,
      )
  return 1 if missed else 0


if __name__ == '__main__':
  sys.exit(main())
