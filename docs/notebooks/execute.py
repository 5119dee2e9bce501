"""Runs every notebook of this folder and writes its outputs into it.

python docs/notebooks/execute.py
"""

import pathlib

import nbclient
import nbformat

FOLDER = pathlib.Path(__file__).parent


def main() -> None:
  for path in sorted(FOLDER.glob('*.ipynb')):
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(
      notebook, resources={'metadata': {'path': str(FOLDER)}}
    ).execute()
    for cell in notebook.cells:
      cell.metadata.pop('execution', None)  # times, which differ from run to run
    nbformat.write(notebook, path)
    print(path)


if __name__ == '__main__':
  main()
