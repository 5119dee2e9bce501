"""What the README promises: its code and its numbers."""

import pathlib
import re
import types

import jax
import jax.numpy as jnp
import numpy as np

from configs import common
from tests import helpers
from xdomain.data import sources
from xdomain.evaluation import ratings
from xdomain.training import loop

ROOT = pathlib.Path(__file__).parent.parent


def _code():
  """The Python in the README: a model, and how one is trained."""
  text = (ROOT / 'README.md').read_text()
  return re.findall(r'```python\n(.*?)```', text, re.DOTALL)


def test_a_model_is_trained_from_python_as_the_readme_has_it(monkeypatch):
  made = sources.dataset(say=lambda line: None, **common.synthetic())
  monkeypatch.setattr(sources, 'dataset', lambda *args, **kwargs: made)
  _, code = _code()
  there = {}
  exec(code.replace('epochs=20', 'epochs=2'), there)
  measures = ratings.rating_measures(there['ratings'])
  assert measures['ratings'] == made.pair.target.user.size // 10
  assert 0 < measures['rmse'] < 2


def test_the_model_in_the_readme_trains_and_sweeps():
  code, _ = _code()
  mine = types.ModuleType('mine')
  exec(compile(code, 'README.md', 'exec'), mine.__dict__)
  small = helpers.small(users=300, target_ratings=6000)
  model = mine.model(small.sizes)
  values = []
  end = loop.fit(
    model,
    jax.random.key(0),
    small.data,
    mine.Hyper(lr=jnp.array([0.01, 0.02]), penalty=jnp.full(2, 1e-3)),
    epochs=30,
    valid=small.valid,
    measure=small.measure,
    watch=lambda report, at: report and values.append(report.value),
  )
  assert np.all(end.best_value < 0.9 * values[0])


def test_every_file_that_the_readme_names_exists():
  text = (ROOT / 'README.md').read_text()
  names = re.findall(
    r'`((?:xdomain|configs|experiments|benchmarks|tests|results)/[\w./]+)`',
    text,
  )
  missing = [
    name
    for name in names
    if name != 'configs/mine.py'
    and name != 'xdomain/models/mine.py'
    and not (ROOT / name).exists()
  ]
  assert names and not missing


def _tables(text):
  """Markdown tables."""
  return re.findall(r'(?:^\|.*\n)+', text, re.MULTILINE)


def test_a_table_of_results_is_one_in_its_file():
  text = (ROOT / 'README.md').read_text()
  marked = re.findall(r'<!-- (results/[\w./]+) -->\n((?:\n|\|.*\n)+)', text)
  assert len(marked) > 5
  for name, block in marked:
    there = _tables((ROOT / name).read_text())
    assert _tables(block) and set(_tables(block)) <= set(there), name


def _numbers(text):
  """Numbers with a decimal point, without sign and leading zeros."""
  found = re.findall(r'(?<![\w.])(?<!Python )\d*\.\d+(?!\.?\w)', text)
  return {number.lstrip('0') for number in found}


def test_every_number_of_the_readme_is_in_a_file_of_results():
  text = (ROOT / 'README.md').read_text()
  text = re.sub(r'```(?:python)?\n.*?```', _only_output, text, flags=re.DOTALL)
  text = re.sub(r'`[^`\n]*`', '', text)
  there = set()
  for path in (ROOT / 'results').rglob('*'):
    if path.suffix in ('.md', '.csv', '.txt'):
      there |= _numbers(path.read_text())
  wrong = sorted(_numbers(text) - there)
  assert not wrong, f'no file in results/ has {wrong}'


def _only_output(block):
  """Blocks of code and commands have no results; what a run prints has."""
  block = block[0]
  return block if 'RMSE' in block and 'python' not in block else ''


def test_the_output_in_the_readme_is_that_of_a_run():
  text = (ROOT / 'README.md').read_text()
  (output,) = [
    block
    for block in re.findall(r'```\n(.*?)```', text, re.DOTALL)
    if 'Test RMSE' in block
  ]
  assert output in (ROOT / 'results' / 'first_command.txt').read_text()
