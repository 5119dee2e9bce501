"""The layers of the package: imports point down, and none is circular."""

import ast
import functools
import graphlib
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
FILES = sorted((ROOT / 'xdomain').rglob('*.py'))

# From the lowest up. A module may import its own layer and those below; the longest
# matching name decides.
LAYERS = (
  ('xdomain.wording', 'xdomain.files', 'xdomain.precision', 'xdomain.shards'),
  ('xdomain.data', 'xdomain.ops'),
  ('xdomain.base',),
  (
    'xdomain.data.device',
    'xdomain.nets',
    'xdomain.least_squares',
    'xdomain.programs',
  ),
  ('xdomain.kernel_ridge',),
  ('xdomain.stages',),
  ('xdomain.models',),
  ('xdomain.training', 'xdomain.evaluation'),
  ('xdomain.reporting',),
  ('xdomain.runs',),
  ('xdomain.api', 'xdomain.serving'),
)


# The package, and the folders beside it that use it.
OURS = ('xdomain.', 'configs', 'experiments', 'benchmarks', 'tests')


def module_name(path: pathlib.Path) -> str:
  parts = path.relative_to(ROOT).with_suffix('').parts
  return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


# The package itself holds its version and names that are imported when they are used.
MODULES = {
  module_name(path): path for path in FILES if path != ROOT / 'xdomain/__init__.py'
}


@functools.cache
def imports(path: pathlib.Path) -> set[str]:
  """The modules of this repository that a file imports, also inside functions."""
  found = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert not node.level, f'{path} has a relative import'
      names = {f'{node.module}.{alias.name}' for alias in node.names}
      found |= names & MODULES.keys() or {node.module}
      # `from package import module, name` reads the package for its names.
      if not names <= MODULES.keys():
        found.add(node.module)
  return {name for name in found if name.startswith(OURS)}


def layer(name: str) -> int:
  matches = [
    (len(prefix), height)
    for height, prefixes in enumerate(LAYERS)
    for prefix in prefixes
    if name == prefix or name.startswith(f'{prefix}.')
  ]
  assert matches, f'{name} has no layer'
  return max(matches)[1]


def test_there_are_modules():
  assert {'xdomain.base', 'xdomain.training.loop'} <= MODULES.keys()
  assert 'xdomain.base' in imports(MODULES['xdomain.training.loop'])


def test_no_import_is_circular():
  graph = {name: imports(path) - {name} for name, path in MODULES.items()}
  graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize('name', MODULES)
def test_imports_point_down(name):
  own = layer(name)
  upward = {other for other in imports(MODULES[name]) if layer(other) > own}
  assert not upward


def test_no_test_module_imports_another():
  for path in (ROOT / 'tests').rglob('*_test.py'):
    text = path.read_text()
    for node in ast.walk(ast.parse(text)):
      if isinstance(node, ast.ImportFrom) and node.module:
        names = [f'{node.module}.{alias.name}' for alias in node.names]
        assert not any(n.startswith('tests.') and '_test' in n for n in names), path


def test_reading_a_file_imports_no_jax():
  readers = [
    name
    for name in MODULES
    if name.startswith('xdomain.data.') and name != 'xdomain.data.device'
  ]
  code = (
    'import importlib, sys\n'
    f'for name in {readers}: importlib.import_module(name)\n'
    'assert "jax" not in sys.modules'
  )
  subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)
