"""Every dependency has a lower bound, as the workflow installs them."""

import configparser
import pathlib
import re
import subprocess

import yaml

ROOT = pathlib.Path(__file__).parents[1]


def required():
  config = configparser.ConfigParser()
  config.read(ROOT / 'setup.cfg')
  return config['options']['install_requires'].split()


def test_every_dependency_has_a_lower_bound():
  assert all(re.fullmatch(r'[\w-]+>=\d[\d.]+', each) for each in required())


def test_the_workflow_tries_the_oldest_versions_and_the_newest():
  workflow = yaml.safe_load((ROOT / '.github/workflows/test.yml').read_text())
  job = workflow['jobs']['test']
  matrix = job['strategy']['matrix']
  assert matrix['versions'] == ['newest']
  assert matrix['include'] == [{'python': '3.11', 'versions': 'oldest'}]
  (script,) = (each['run'] for each in job['steps'] if 'oldest' in each.get('if', ''))
  command = ['bash', '-c', script.splitlines()[0].split(' > ')[0]]
  listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
  assert listed.stdout.split() == [each.replace('>=', '==') for each in required()]
