"""Arguments of public functions are annotated."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
SHARE = 0.95


def public_arguments(path: pathlib.Path):
  """`(function, argument, is annotated)` of public functions and methods of a file."""

  def of_function(function, method):
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    named += [each for each in (arguments.vararg, arguments.kwarg) if each]
    for argument in named[method:]:
      yield function.name, argument.arg, argument.annotation is not None

  def is_static(function):
    names = [ast.unparse(each) for each in function.decorator_list]
    return 'staticmethod' in names

  for node in ast.parse(path.read_text()).body:
    if isinstance(node, ast.FunctionDef) and not node.name.startswith('_'):
      yield from of_function(node, method=False)
    if isinstance(node, ast.ClassDef) and not node.name.startswith('_'):
      for each in node.body:
        public = isinstance(each, ast.FunctionDef) and (
          not each.name.startswith('_') or each.name == '__init__'
        )
        if public:
          yield from of_function(each, method=not is_static(each))


@pytest.mark.parametrize('package', ['configs', 'experiments', 'xdomain'])
def test_public_arguments_are_annotated(package):
  counted = {
    path: list(public_arguments(path)) for path in (ROOT / package).rglob('*.py')
  }
  every = [each for arguments in counted.values() for each in arguments]
  missing = {
    str(path.relative_to(ROOT)): [f'{f}({a})' for f, a, known in arguments if not known]
    for path, arguments in counted.items()
  }
  share = sum(known for _, _, known in every) / len(every)
  assert share >= SHARE, {path: names for path, names in missing.items() if names}
