"""MkDocs hooks: pages made from files of the repository, and formulas as MathML.

- Every folder of `results/` becomes a page, so that no table is pasted.
- `CHANGELOG.md`, `CONTRIBUTING.md` and `results/README.md` become pages.
- Links to those files, which work where the repository is browsed, lead to the
  pages.
- Formulas become MathML, which browsers render without a script.
"""

import html
import pathlib
import posixpath
import re

from latex2mathml import converter
from mkdocs.structure import files as mkdocs_files

ROOT = pathlib.Path(__file__).parent.parent
RESULTS = ROOT / 'results'


def sources() -> dict[str, pathlib.Path]:
  """The files that become pages, by the address of the page."""
  pages = {
    'changelog.md': ROOT / 'CHANGELOG.md',
    'contributing.md': ROOT / 'CONTRIBUTING.md',
    'results/index.md': RESULTS / 'README.md',
    'results/claims.md': RESULTS / 'claims.md',
  }
  for table in sorted(RESULTS.glob('*/table.md')):
    pages[f'results/{table.parent.name}.md'] = table
  for benchmark in sorted(RESULTS.glob('benchmarks/*.md')):
    pages[f'results/benchmarks/{benchmark.stem}.md'] = benchmark
  return pages


def title(path: pathlib.Path) -> str:
  """The first heading of a Markdown file, or its name."""
  heading = re.search(r'^# (.*)', path.read_text('utf-8'), re.MULTILINE)
  return heading[1] if heading else path.stem


def on_config(config):
  """Adds every page of results to the navigation."""
  pages = sources()
  results = [
    {title(path): page} for page, path in pages.items() if page.startswith('results/')
  ]
  config.nav = [
    {'Results': results} if entry == {'Results': 'results'} else entry
    for entry in config.nav
  ]
  return config


def on_files(files, config):
  """Adds the pages, and the plots that they show."""
  for page, path in sources().items():
    text = path.read_text('utf-8')
    if not text.startswith('# '):
      text = f'# {title(path)}\n\n{text}'
    plot = path.with_name('plot.svg')
    if path.name == 'table.md' and plot.exists():
      folder = path.parent.name
      text += f'\n![{title(path)}]({folder}/plot.svg)\n'
      files.append(
        mkdocs_files.File.generated(
          config, f'results/{folder}/plot.svg', abs_src_path=str(plot)
        )
      )
    files.append(mkdocs_files.File.generated(config, page, content=text))
  return files


def on_page_markdown(markdown, page, config, files):
  """Leads links to files of the repository to the pages made from them."""
  del config, files
  address = page.file.src_uri
  made_from = sources()
  # A link is relative to the file as the repository has it.
  origin = made_from.get(address, ROOT / 'docs' / address)
  pages = {path.resolve(): made for made, path in made_from.items()}

  def lead(link):
    target, _, anchor = link[2].partition('#')
    if not target or '://' in target:
      return link[0]
    path = (origin.parent / target).resolve()
    if path in pages:
      to = pages[path]
    elif address in made_from and path.is_relative_to(ROOT / 'docs'):
      to = path.relative_to(ROOT / 'docs').as_posix()
    else:
      return link[0]
    to = posixpath.relpath(to, posixpath.dirname(address) or '.')
    return f'{link[1]}({to}{"#" * bool(anchor)}{anchor})'

  return re.sub(r'(!?\[[^\]]*\])\(([^)\s]+)\)', lead, markdown)


def on_page_content(content, page, config, files):
  """Makes MathML of the formulas that arithmatex marked."""
  del page, config, files

  def render(formula):
    tex = html.unescape(formula[2])[2:-2]
    display = 'block' if formula[1] == 'div' else 'inline'
    return converter.convert(tex, display=display)

  return re.sub(
    r'<(span|div) class="arithmatex">(.*?)</\1>', render, content, flags=re.DOTALL
  )
