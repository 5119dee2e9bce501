"""What the README promises of a model of one's own."""

import pathlib
import re
import types

import jax
import jax.numpy as jnp
import numpy as np

from tests import helpers
from xdomain import train

ROOT = pathlib.Path(__file__).parent.parent


def test_the_model_in_the_readme_trains_and_sweeps():
  text = (ROOT / 'README.md').read_text()
  (code,) = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
  mine = types.ModuleType('mine')
  exec(compile(code, 'README.md', 'exec'), mine.__dict__)
  small = helpers.small(users=300, target_ratings=6000)
  model = mine.model(small.sizes)
  values = []
  end = train.fit(
    model, jax.random.key(0), small.data,
    mine.Hyper(lr=jnp.array([0.01, 0.02]), penalty=jnp.full(2, 1e-3)),
    epochs=30, valid=small.valid, measure=small.measure,
    watch=lambda report, at: report and values.append(report.value),
  )  # fmt: skip
  assert np.all(end.best_value < 0.9 * values[0])


def test_every_file_that_the_readme_names_exists():
  text = (ROOT / 'README.md').read_text()
  names = re.findall(
    r'`((?:xdomain|configs|experiments|benchmarks|tests|results)/[\w./]+)`',
    text,
  )
  missing = [
    name for name in names
    if name != 'configs/mine.py' and name != 'xdomain/models/mine.py'
    and not (ROOT / name).exists()
  ]  # fmt: skip
  assert names and not missing
