"""The page in a real browser: choices, recommendations, explanations and errors.

Needs Playwright and a Chromium: `pip install playwright` and the browser of the system
(`CHROMIUM`, by default the first of its names on the path) or Playwright's own.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys

import pytest

from tests import helpers
from xdomain.serving import export

pytestmark = [
  pytest.mark.slow,
  pytest.mark.skipif(
    importlib.util.find_spec('playwright') is None, reason='playwright is missing'
  ),
]


@pytest.fixture(scope='module')
def address(tmp_path_factory):
  """A service of two models."""
  folder = tmp_path_factory.mktemp('exports')
  for name, settings in (
    ('ease', {}),
    ('shared_vae_cold', dict(hidden=(8,), latent=4)),
  ):
    export.save(folder / name, helpers.trained(name, settings), lengths=(32,))
  artefacts = f'{folder / "ease"},{folder / "shared_vae_cold"}'
  process = subprocess.Popen(
    [sys.executable, '-m', 'experiments.serve', f'--artefact={artefacts}', '--port=0'],
    stdout=subprocess.PIPE,
    text=True,
  )
  yield re.match(r'http://\S+', process.stdout.readline())[0]
  process.terminate()
  assert process.wait(60) == 0
  process.stdout.close()


@pytest.fixture(scope='module')
def browser():
  from playwright import sync_api

  path = os.environ.get('CHROMIUM') or shutil.which('chromium')
  with sync_api.sync_playwright() as playwright:
    made = playwright.chromium.launch(executable_path=path, args=['--no-sandbox'])
    yield made
    made.close()


@pytest.fixture
def page(browser, address):
  """The page; nothing may be loaded from elsewhere, and no error may be logged."""
  made = browser.new_page(viewport={'width': 390, 'height': 800})
  problems = []
  made.on('request', lambda r: r.url.startswith(address) or problems.append(r.url))
  made.on('console', lambda m: m.type == 'error' and problems.append(m.text))
  made.on('pageerror', lambda error: problems.append(str(error)))
  made.goto(address)
  yield made
  made.close()
  assert not [each for each in problems if not each.startswith('data:')]


def choose(page, words):
  """Chooses the first item that contains some words, by the keyboard alone."""
  box = page.get_by_role('combobox', name=re.compile('like'))
  box.fill(words)
  marked = page.locator('#options li[aria-selected=true]')
  marked.filter(has_text=words).wait_for()
  box.press('Enter')


def test_three_items_are_chosen_and_the_other_domain_is_recommended(page):
  for words in ('s1', 's2', 's3'):
    choose(page, words)
    page.get_by_role('button', name=f'Remove {words}').first.wait_for()
  rows = page.locator('#results li')
  rows.first.wait_for()
  assert rows.count() == 10
  assert re.search(r'Because of s\d+ \(\+', page.locator('#results').inner_text())
  assert page.locator('#status').inner_text().startswith('10 recommendations, t')


def test_the_list_follows_the_choice_the_slider_and_the_method(page):
  from playwright import sync_api

  choose(page, 's1')
  rows = page.locator('#results li b')
  rows.first.wait_for()
  first = rows.all_inner_texts()
  slider = page.get_by_role('slider')
  slider.fill('4')
  sync_api.expect(rows).to_have_count(4)
  assert rows.all_inner_texts() == first[:4]
  slider.fill('10')
  page.get_by_label('Method').select_option('shared_vae_cold')
  sync_api.expect(rows).to_have_count(10)
  with page.expect_response('**/recommend') as answer:
    slider.fill('9')
  assert answer.value.json()['model'] == 'shared_vae_cold'
  page.get_by_role('button', name='Remove s1').first.click()
  page.get_by_text('Nothing is chosen yet.').wait_for()
  assert rows.count() == 0


def test_nonsense_is_answered_by_a_sentence(page):
  page.get_by_role('combobox', name=re.compile('like')).fill('qwertz')
  alert = page.get_by_role('alert')
  page.get_by_text('No title contains').wait_for()
  assert alert.inner_text() == 'No title contains “qwertz”.'


def test_it_fits_a_phone_and_every_control_has_a_name(page):
  choose(page, 's1')
  page.locator('#results li').first.wait_for()
  assert page.evaluate('document.documentElement.scrollWidth') <= 390
  unnamed = page.evaluate(
    """[...document.querySelectorAll('input, select, button')].filter(one =>
      !one.labels?.length && !one.ariaLabel && !one.textContent).length"""
  )
  assert unnamed == 0


def test_it_can_be_used_by_keyboard_alone(page):
  page.keyboard.press('Tab')
  page.locator('#options li').first.wait_for()
  page.keyboard.press('ArrowDown')
  page.keyboard.press('ArrowDown')
  marked = page.locator('#options li[aria-selected=true]')
  name = marked.inner_text()
  box = page.get_by_role('combobox', name=re.compile('like'))
  assert box.get_attribute('aria-activedescendant') == marked.get_attribute('id')
  page.keyboard.press('Enter')
  page.get_by_role('button', name=f'Remove {name}').wait_for()
  page.keyboard.press('Escape')
  page.keyboard.press('Backspace')
  page.get_by_text('Nothing is chosen yet.').wait_for()


def test_the_whole_path_needs_no_pointer_and_is_announced(page):
  from playwright import sync_api

  press, focused = page.keyboard.press, page.locator(':focus')
  press('Tab')
  for words in ('s1', 's2', 's3'):
    page.keyboard.type(words)
    page.locator('#options li[aria-selected=true]').filter(has_text=words).wait_for()
    press('Enter')
  status = page.get_by_role('status')
  sync_api.expect(status).to_contain_text('10 recommendations, t')
  chosen = page.get_by_role('list', name='Chosen items').get_by_role('listitem')
  sync_api.expect(chosen).to_have_count(3)
  press('Tab')
  assert focused.get_attribute('aria-label').startswith('Remove s1')
  press('Enter')
  sync_api.expect(chosen).to_have_count(2)
  sync_api.expect(focused).to_have_attribute('aria-label', re.compile('Remove s2'))
  press('Tab')
  press('Tab')
  assert focused.get_attribute('id') == 'model'
  press('ArrowDown')
  sync_api.expect(focused).to_have_value('shared_vae_cold')
  press('Tab')
  assert focused.get_attribute('type') == 'range'
  press('ArrowLeft')
  sync_api.expect(status).to_contain_text('9 recommendations, t')
  rows = page.get_by_role('list', name=re.compile('for you')).get_by_role('listitem')
  sync_api.expect(rows).to_have_count(9)


TEXTS = """[...document.querySelectorAll('body *')].flatMap(one => {
  const own = [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim());
  const shown = one.getClientRects().length && one.tagName !== 'SCRIPT';
  if (!shown || !(own || one.placeholder)) return [];
  let behind = one;
  const back = () => getComputedStyle(behind).backgroundColor;
  while (back() === 'rgba(0, 0, 0, 0)') behind = behind.parentElement;
  const style = getComputedStyle(one, own ? null : '::placeholder');
  const numbers = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
  return [[one.tagName + '#' + one.id, numbers(style.color), numbers(back())]];
})"""


@pytest.mark.parametrize('scheme', ['dark', 'light'])
def test_all_text_stands_out_in_both_schemes(browser, address, scheme):
  page = browser.new_page(color_scheme=scheme)
  page.goto(address)
  choose(page, 's1')
  page.locator('#results li').first.wait_for()
  texts = page.evaluate(TEXTS)
  page.get_by_role('combobox', name=re.compile('like')).fill('qwertz')
  page.get_by_text('No title contains').wait_for()
  texts += page.evaluate(TEXTS)
  page.get_by_role('combobox', name=re.compile('like')).fill('s')
  page.locator('#options li[aria-selected=true]').wait_for()
  texts += page.evaluate(TEXTS)
  page.close()
  found = {name for name, *_ in texts}
  assert found >= {'SMALL#', 'BUTTON#', 'INPUT#search', 'DIV#problem', 'LI#option-0'}
  for name, *colours in texts:
    text, back = map(luminance, colours)
    assert (max(text, back) + 0.05) / (min(text, back) + 0.05) >= 4.5, (name, colours)
    assert (text > back) == (scheme == 'dark')


def luminance(colour):
  """The relative luminance of sRGB, as WCAG defines it."""
  parts = [value / 255 for value in colour]
  linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
  return sum(weight * x for weight, x in zip((0.2126, 0.7152, 0.0722), linear))
