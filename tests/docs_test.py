"""README and docs/: their code runs, their commands parse, links lead somewhere.

A fenced block of `python` or `bash` is run or parsed, unless an HTML comment just
before it says `not run: <reason>`, or names the test below that runs it.
"""

import ast
import functools
import importlib
import inspect
import json
import pathlib
import re
import shlex
import shutil
import types
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags
from ml_collections import config_flags

from tests import helpers
from xdomain.training import loop

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [
  ROOT / 'README.md',
  ROOT / 'CONTRIBUTING.md',
  *sorted((ROOT / 'docs').rglob('*.md')),
]
MODELS = sorted(
  path.stem for path in (ROOT / 'xdomain/models').glob('*.py') if path.stem[0] != '_'
)


def name(path):
  return str(path.relative_to(ROOT))


class Block(NamedTuple):
  page: str
  language: str
  mark: str  # the comment before it
  text: str


def blocks(path) -> list[Block]:
  """The fenced blocks of a page."""
  found = re.findall(
    r'(?:^<!-- (.*?) -->\n)?^```(\w*)\n(.*?)^```$',
    path.read_text('utf-8'),
    re.MULTILINE | re.DOTALL,
  )
  return [Block(name(path), language, mark, text) for mark, language, text in found]


BLOCKS = [block for path in PAGES for block in blocks(path)]


def marked(mark) -> str:
  """The text of the one block with this mark."""
  (block,) = [block for block in BLOCKS if block.mark == mark]
  return block.text


def test_every_block_is_run_or_says_why_not():
  known = 'model', 'config', 'slow', *SERVE
  for block in BLOCKS:
    assert block.language in ('python', 'bash', 'text', 'yaml'), block
    reason = block.mark.removeprefix('not run: ')
    assert not block.mark or block.mark in known or reason != block.mark, block
  assert sum(block.language == 'bash' for block in BLOCKS) > 10


# --- Python -----------------------------------------------------------------


@pytest.fixture
def examples(tmp_path, monkeypatch):
  """The folder of a reader who has the example files."""
  for path in (ROOT / 'docs/examples').glob('*.csv'):
    shutil.copy(path, tmp_path)
  monkeypatch.chdir(tmp_path)
  return tmp_path


@functools.cache
def programs() -> dict[str, list[Block]]:
  """The Python of each page, in order: one program a page."""
  pages = {}
  for block in BLOCKS:
    if block.language == 'python' and not block.mark:
      pages.setdefault(block.page, []).append(block)
  return pages


# The blocks of docs/howto/serve.md, which `serving/howto_test.py` runs in this order.
SERVE = tuple(
  f'serve: {part}'
  for part in (
    *('demo', 'train and export', 'start', 'ask', 'swap', 'portable', 'server'),
  )
)


@pytest.mark.parametrize(
  'page',
  [
    pytest.param(page, marks=() if page == 'README.md' else pytest.mark.matrix)
    for page in programs()
  ],
)
def test_the_python_of_a_page_runs(page, examples, capsys):
  program = '\n'.join(block.text for block in programs()[page])
  exec(compile(program, page, 'exec'), {'__name__': page})
  assert 'print(' not in program or capsys.readouterr().out


def test_the_model_of_the_how_to_page_trains_and_sweeps():
  mine = types.ModuleType('mine')
  exec(compile(marked('model'), 'add_a_model.md', 'exec'), mine.__dict__)
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


def test_the_config_of_the_how_to_page_fits_its_model():
  config = types.ModuleType('config')
  exec(compile(marked('config'), 'add_a_model.md', 'exec'), config.__dict__)
  mine = types.ModuleType('mine')
  exec(compile(marked('model'), 'add_a_model.md', 'exec'), mine.__dict__)
  made = config.get_config()
  assert set(made.hyper) == set(mine.Hyper._fields)
  assert set(made.model) <= set(inspect.signature(mine.model).parameters)
  assert np.prod([len(values) for values in made.search.hyper.values()]) >= 8


@pytest.mark.matrix
def test_the_notebook_runs_and_was_committed_with_outputs(tmp_path, monkeypatch):
  for folder in ('examples', 'notebooks'):
    shutil.copytree(ROOT / 'docs' / folder, tmp_path / folder)
  monkeypatch.chdir(tmp_path / 'notebooks')
  notebook = json.loads(pathlib.Path('own_files.ipynb').read_text('utf-8'))
  code = [cell for cell in notebook['cells'] if cell['cell_type'] == 'code']
  assert code[-1]['outputs'] and all(cell['execution_count'] for cell in code)
  exec('\n'.join(''.join(cell['source']) for cell in code), {'__name__': 'notebook'})


# --- Commands ---------------------------------------------------------------


def commands() -> list[tuple[str, str]]:
  """Every command of every page, as one line."""
  return [
    (block.page, line)
    for block in BLOCKS
    if block.language == 'bash' and not block.mark.startswith('not run: ')
    for line in re.sub(r'\\\n\s*', ' ', block.text).splitlines()
    if line.strip() and not line.startswith('#')
  ]


@functools.cache
def flag_names(module) -> set[str]:
  """The flags that a command's source defines."""
  path = ROOT / (module.replace('.', '/') + '.py')
  assert path.exists(), f'there is no {module}'
  text = path.read_text()
  if 'split_flags' in text:
    text += (ROOT / 'experiments/split_flags.py').read_text()
  calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
  return {
    call.args[0].value
    for call in calls
    if isinstance(call.func, ast.Attribute)
    and call.func.attr.startswith('DEFINE_')
    and call.args
  }


def check_program(module, arguments):
  """Raises unless a command takes these arguments; trains nothing."""
  known = flag_names(module)
  given = {
    part[2:].split('=')[0].split('.')[0] for part in arguments if part[:2] == '--'
  }
  assert given <= known | {'help'}, (module, given - known)
  config = [part for part in arguments if part.startswith('--config')]
  if config and not any('configs/mine.py' in part for part in config):
    values, argv = flags.FlagValues(), [module, *config]
    config_flags.DEFINE_config_file('config', flag_values=values, sys_argv=argv)
    values(argv)
    assert values.config is not None


# ml_collections loads a config file in a way that Python deprecates.
@pytest.mark.filterwarnings('ignore:the load_module')
@pytest.mark.parametrize('page, line', commands())
def test_a_command_is_one_that_there_is(page, line, monkeypatch):
  monkeypatch.chdir(ROOT)
  for part in line.split('&&'):
    words = shlex.split(part, comments=True)
    while words and re.fullmatch(r'[A-Z_]+=.*', words[0]):
      words = words[1:]
    if words[:2] == ['taskset', '-c']:
      words = words[3:]
    if words[:2] == ['python', '-m'] and words[2] == 'pytest':
      paths = [word for word in words[3:] if word.startswith('tests/')]
      assert all((ROOT / path).exists() for path in paths), line
    elif words[:2] == ['python', '-m']:
      check_program(words[2], words[3:])
    elif words[0] == 'xdomain':
      check_program(f'experiments.{words[1]}', words[2:])
    else:
      known = 'pip', 'ruff', 'mkdocs', 'git', 'cd', '.ci/run', 'curl', 'cat'
      assert words[0] in known, line


OWN_FILES = (
  'README.md',
  'docs/howto/own_files.md',
  'docs/howto/cold_start.md',
  'docs/howto/recommend.md',
)


@pytest.mark.matrix
@pytest.mark.parametrize('page', OWN_FILES)
def test_the_commands_of_a_page_run_on_the_example_files(page, examples, capsys):
  (examples / 'users.txt').write_text('ann\nbob\n')
  lines = [line for where, line in commands() if where == page]
  lines = [line for line in lines if line.startswith('xdomain ')]
  assert lines
  if '--final' not in ' '.join(lines):  # Its Python saves what commands read.
    test_the_python_of_a_page_runs(page, examples, capsys)
  for line in lines:
    _, command, *words = shlex.split(line)
    ended = helpers.run_command(command, *words)
    assert not ended.returncode, f'{line}\n{ended.stderr}'


# --- Method pages -----------------------------------------------------------


def settings(page) -> dict[str, str]:
  """Names and defaults in the table of settings."""
  rows = re.findall(r'^\| `((?:hyper|model)\.\w+)` \| (.*?) \|', page, re.MULTILINE)
  return {field: default.strip('`') for field, default in rows}


@pytest.mark.parametrize('method', MODELS)
def test_the_page_of_a_method_has_its_settings_and_defaults(method):
  page = (ROOT / f'docs/methods/{method}.md').read_text('utf-8')
  module = importlib.import_module(f'xdomain.models.{method}')
  actual = {
    f'hyper.{field}': value for field, value in module.Hyper._field_defaults.items()
  }
  signature = inspect.signature(module.model)
  for parameter in list(signature.parameters.values())[1:]:
    actual[f'model.{parameter.name}'] = parameter.default
  stated = {field: ast.literal_eval(text) for field, text in settings(page).items()}
  assert stated == actual


@pytest.mark.parametrize('method', MODELS)
def test_the_page_of_a_method_has_the_skeleton(method):
  page = (ROOT / f'docs/methods/{method}.md').read_text('utf-8')
  headings = re.findall(r'^## (.*)', page, re.MULTILINE)
  assert [heading.split(' from ')[0] for heading in headings] == [
    'Equations',
    'Settings',
    'Departures',
    'Cost',
    'When to use it',
  ]
  assert f'`xdomain/models/{method}.py`' in page
  assert '$' in page


def test_there_is_a_page_for_every_method_and_no_other():
  pages = {path.stem for path in (ROOT / 'docs/methods').glob('*.md')}
  assert pages - {'index', 'papers'} == set(MODELS)


# --- Links and names --------------------------------------------------------


@pytest.mark.parametrize('path', PAGES, ids=name)
def test_the_links_of_a_page_lead_to_files(path):
  text = re.sub(r'^```.*?^```$', '', path.read_text('utf-8'), flags=re.M | re.S)
  links = re.findall(r'\]\(([^)\s]+)\)', text)
  for link in links:
    target = link.partition('#')[0]
    if not target or '://' in target:
      continue
    assert (path.parent / target).exists(), link


@pytest.mark.parametrize('path', PAGES, ids=name)
def test_the_files_that_a_page_names_exist(path):
  names = re.findall(
    r'`((?:xdomain|configs|experiments|benchmarks|tests|results|docs)/[\w./]+)`',
    path.read_text('utf-8'),
  )
  missing = [file for file in names if not (ROOT / file).exists()]
  assert set(missing) <= {'configs/mine.py', 'xdomain/models/mine.py'}


def test_every_page_is_in_the_navigation():
  text = (ROOT / 'mkdocs.yml').read_text()
  for path in PAGES:
    if path.is_relative_to(ROOT / 'docs') and path.parent.name != 'examples':
      assert str(path.relative_to(ROOT / 'docs')) in text


# --- README -----------------------------------------------------------------

README = (ROOT / 'README.md').read_text('utf-8')


def test_the_readme_is_short():
  assert len(README) <= 9000
  assert README.count('\n') <= 150


def numbers(text) -> set[str]:
  """Numbers with a decimal point, without sign and leading zeros."""
  found = re.findall(r'(?<![\w.])(?<!Python )\d*\.\d+(?!\.?\w)', text)
  return {number.lstrip('0') for number in found}


def test_every_number_of_the_readme_is_in_results():
  text = re.sub(r'^```(?!text).*?^```$', '', README, flags=re.M | re.S)
  text = re.sub(r'`[^`\n]*`|Apache-2.0', '', text)
  known = set()
  for path in (ROOT / 'results').rglob('*'):
    if path.suffix in ('.md', '.csv', '.txt'):
      known |= numbers(path.read_text('utf-8'))
  assert numbers(text)
  assert not numbers(text) - known


def test_every_output_in_the_readme_is_one_of_a_run():
  outputs = [block.text for block in BLOCKS if block[:2] == ('README.md', 'text')]
  runs = [path.read_text('utf-8') for path in (ROOT / 'results').glob('*.txt')]
  assert outputs
  for output in outputs:
    assert any(output in run for run in runs), output
