"""README and docs/: their code and commands run, links lead somewhere.

A fenced block of `python` or `bash` is run, unless an HTML comment just before it says
`not run: <reason>`, or names the test below that runs it. For commands this means:

- Every command, also one within a sentence, is parsed: program, flags and config exist.
- A command of this package runs as it stands, on the example files; one with a config
  at toy size: on a synthetic pair unless it names own files, for two epochs, with two
  trials, one cell of a table.
- Of commands with the same program and flags, which differ in values alone, the first
  of all pages runs, and those that read the files or the runs of their page.
- `pip`, `pytest` and other programs are parsed only: `.ci/run` runs them.
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

import configs
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


def commands(mark='') -> list[tuple[str, str]]:
  """The commands of every page, as one line, in blocks whose mark begins so."""
  return [
    (block.page, line)
    for block in BLOCKS
    if block.language == 'bash' and block.mark.startswith(mark)
    if mark or not block.mark
    for line in re.sub(r'\\\n\s*', ' ', block.text).splitlines()
    if line.strip() and not line.startswith('#')
  ]


def inline_commands() -> list[tuple[str, str]]:
  """The commands of this package within sentences and tables."""
  return sorted(
    {
      (name(path), ' '.join(line.split()))
      for path in PAGES
      for line in re.findall(
        r'`((?:python -m (?:experiments|benchmarks)\.|xdomain )[^`]*)`',
        re.sub(r'^```.*?^```$', '', path.read_text('utf-8'), flags=re.M | re.S),
      )
      if not re.search(r'\.\.\.|COMMAND', line)
    }
  )


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
    and call.func.attr.lower().startswith('define')
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
@pytest.mark.parametrize(
  'page, line', commands() + commands('serve: ') + inline_commands()
)
def test_a_command_is_one_that_there_is(page, line):
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


def package_commands(page) -> list[tuple[str, list[str]]]:
  """Program and arguments of each of a page's commands of this package."""
  found = []
  for line in (line for where, line in commands() if where == page):
    words = shlex.split(line, comments=True)
    if words[:2] == ['python', '-m']:
      room, _, program = words[2].partition('.')
      found += [(program, words[3:])] * (room == 'experiments')
    elif words[0] == 'xdomain':
      found.append((words[1], words[2:]))
  return found


def config_of(arguments) -> str | None:
  """The text of `--config=`."""
  found = [word[9:] for word in arguments if word.startswith('--config=')]
  return found[0] if found else None


def kind(program, arguments) -> tuple[str, ...]:
  """Program and flags of a command, without their values."""
  return program, *sorted({word.partition('=')[0] for word in arguments})


def reads_files(arguments) -> bool:
  """Whether a command reads what its page has, and no config."""
  flags_given = {word.partition('=')[0] for word in arguments}
  return '--config' not in flags_given and bool({'--source', '--run'} & flags_given)


@functools.cache
def first_of_kind() -> dict[tuple, tuple[str, str]]:
  """The page and the arguments of the first command of each kind."""
  found = {}
  for page in map(name, PAGES):
    for program, arguments in package_commands(page):
      found.setdefault(kind(program, arguments), (page, shlex.join(arguments)))
  return found


def to_run(page) -> list[tuple[str, list[str]]]:
  """Program and arguments of each of a page's commands that run."""
  return [
    (program, arguments)
    for program, arguments in package_commands(page)
    if reads_files(arguments)
    or first_of_kind()[kind(program, arguments)] == (page, shlex.join(arguments))
  ]


def toy(program, arguments) -> list[str]:
  """The arguments of a command, of which a config is at toy size."""
  if config_of(arguments) is None:
    return arguments
  path, _, argument = config_of(arguments).partition(':')
  words = [word for word in argument.split(',') if word not in ('', 'full', 'quick')]
  own = {'tables', 'given'} & set(words)
  words += ['quick'] if own else ['synthetic', 'quick']
  small = f'--config={path}:{",".join(words)}'
  rest = [word for word in arguments if not word.startswith('--config=')]
  if program == 'table':
    config = configs.load(small.removeprefix('--config='))
    rows, columns = map(str, (config.rows[-1:], config.columns[:1]))
    rest += [f'--config.rows={rows}', f'--config.columns={columns}', '--results=toy']
    return [small, *rest, '--config.seeds=(0,)']
  if program == 'tune':
    rest += ['--config.search.trials=2']
    rest += [] if '--seeds=0' in rest else ['--seeds=2']
  return [small, *rest, *['--config.epochs=2'] * (program in ('main', 'tune'))]


def run_command(program, arguments):
  ended = helpers.run_command(program, *arguments)
  finding = program == 'audit' and ended.returncode == 3
  assert not ended.returncode or finding, f'{program} {arguments}\n{ended.stderr}'


def train(run):
  """Makes the run that is named after its config, unless there is one of that name."""
  stems = [
    path.stem for path in configs.files() if f'{run}_'.startswith(f'{path.stem}_')
  ]
  if stems and not list(pathlib.Path('runs').glob(f'{run}-seed*')):
    stem = max(stems, key=len)
    config = f'--config={stem}:{run.removeprefix(stem)[1:]}'
    run_command('main', toy('main', [config]))


@pytest.mark.matrix
@pytest.mark.parametrize('page', [page for page in map(name, PAGES) if to_run(page)])
def test_the_commands_of_a_page_run(page, examples, capsys):
  """In order, in one folder; the files and runs that they read are made before."""
  (examples / 'results').symlink_to(ROOT / 'results')
  (examples / 'users.txt').write_text('ann\nbob\n')
  rows = [f'u{user},t{item},{item % 7}' for user in range(50) for item in range(50)]
  (examples / 'theirs.csv').write_text('\n'.join(['user,item,score', *rows]))
  if '.save(' in '\n'.join(block.text for block in programs().get(page, ())):
    test_the_python_of_a_page_runs(page, examples, capsys)
  for program, arguments in to_run(page):
    for word in arguments:
      if word.startswith(('--run=', '--against=')):
        train(word.partition('=')[2])
    run_command(program, toy(program, arguments))


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
