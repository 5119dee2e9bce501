"""An epoch of a method in RecBole, timed by RecBole's own Python.

RecBole needs numpy before 2 and jax one from 2 on, so it has an environment of
its own, and `python -m benchmarks.baselines --recbole=<its python>` runs this
file there: it imports nothing of this project. It reads one JSON object from
standard input (`folder`, with `pairs/pairs.inter` in it; `model`; `config`;
`repeats`) and writes one as its last line (`seconds`, `parameters`).
"""

import json
import sys
import time


def main():
  from recbole.config import Config
  from recbole.data import create_dataset, data_preparation
  from recbole.utils import get_model, get_trainer

  asked = json.load(sys.stdin)
  sys.argv = sys.argv[:1]  # RecBole reads it too.
  config = Config(
    asked['model'],
    'pairs',
    config_dict={
      'data_path': asked['folder'],
      'checkpoint_dir': asked['folder'],
      'load_col': {'inter': ['user_id', 'item_id']},
      'eval_args': {'split': {'RS': [1.0, 0.0, 0.0]}, 'order': 'RO'},
      'use_gpu': False,
      'worker': 0,
      'state': 'ERROR',
      **asked['config'],
    },
  )
  dataset = create_dataset(config)
  train, _, _ = data_preparation(config, dataset)
  model = get_model(asked['model'])(config, train.dataset)
  trainer = get_trainer(config['MODEL_TYPE'], asked['model'])(config, model)
  seconds = []
  for epoch in range(1 + asked['repeats']):
    started = time.perf_counter()
    trainer._train_epoch(train, epoch, show_progress=False)
    seconds.append(time.perf_counter() - started)
  size = sum(parameter.numel() for parameter in model.parameters())
  print(json.dumps({'seconds': min(seconds[1:]), 'parameters': size}))


if __name__ == '__main__':
  main()
