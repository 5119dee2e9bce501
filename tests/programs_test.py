"""The folder of compiled programs stays within its bound."""

import os

from xdomain import programs


def test_the_oldest_compiled_programs_go_first(tmp_path):
  for age, name in enumerate(('newest', 'older', 'oldest')):
    (tmp_path / name).write_bytes(b'x' * 40)
    os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
  programs.bound(tmp_path, 100)
  assert sorted(path.name for path in tmp_path.iterdir()) == ['newest', 'older']
  programs.bound(tmp_path, 100)
  assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_is_gone_is_no_fault(tmp_path):
  programs.bound(tmp_path / 'gone', 100)
