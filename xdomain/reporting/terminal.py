"""Progress and tables on a terminal, or in a log file."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from rich import box, console, progress, table

from xdomain.data import describe, types
from xdomain.reporting import records, render

PAUSE = 10.0  # Seconds between lines where there is no terminal.
RATING_TITLE = 'Test RMSE of the target; epochs chosen on validation ratings'
RANKING_TITLE = (
  'Test items of the target among sampled negatives; epochs chosen on validation items'
)
FULL_TITLE = 'The same in the full catalogue'
OVER_SEEDS = (
  'Test measures: means over seeds with 95 % intervals (over users for fewer than'
  ' three seeds); valid: the mean of the best validation values'
)


class Terminal:
  """Prints runs: a progress bar on a terminal, otherwise a line every few seconds."""

  def __init__(self):
    self.console = console.Console(highlight=False, soft_wrap=True)
    if not self.console.is_terminal:
      self.console.width = 160
    self._heard = time.monotonic()
    self._step = 'preparing'

  def say(self, text: str) -> None:
    """Prints text as it is."""
    self._heard = time.monotonic()
    self.console.print(text, markup=False)

  def step(self, name: str) -> None:
    """Sets the step that `pulse` names."""
    self._heard, self._step = time.monotonic(), name

  @contextlib.contextmanager
  def pulse(self, pause: float = PAUSE) -> Iterator[None]:
    """A context in which every step that takes long prints that it still runs.

    Args:
      pause: seconds of silence before the first line; each pause is twice the last.
    """
    ended = threading.Event()

    def beat():
      heard, wait = self._heard, pause
      while not ended.wait(pause / 10):
        if self._heard != heard:
          heard, wait = self._heard, pause
        silent = time.monotonic() - heard
        if silent >= wait:
          wait *= 2
          line = f'{self._step}: still running after {silent:.0f} s'
          self.console.print(line, markup=False)

    self.step(self._step)
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
      yield
    finally:
      ended.set()
      thread.join()

  def data(self, dataset: types.Dataset) -> None:
    """Prints the counts after every filter of the data."""
    for line in describe.lines(dataset):
      self.say(line)

  def training(
    self, title: str, value: Callable[[float], float], part: int = 0, parts: int = 1
  ) -> '_Training':
    """A context that shows training; call its value with each epoch's report.

    Args:
      title: of the run.
      value: turns the measure of `fit` into the one that is shown.
      part: the number of runs that ended before.
      parts: the number of all runs.
    """
    return _Training(self, title, value, part, parts)

  def results(self, named: list[tuple[str, dict]]) -> None:
    """Prints the test of some records, by their names."""
    names = [name for name, _ in named]
    tables = [_cells(record) for _, record in named]
    for title in tables[0]:
      rows = [
        {'method': name} | of_record[title] for name, of_record in zip(names, tables)
      ]
      self.say(title)
      self.table(rows)
    for name, record in named:
      for doubt in records.doubts(record['test']):
        self.say(f'{name}: {doubt}')
      if 'test_source' in record:
        source = record['test_source']
        self.say(
          f'{name} on the source domain, as information: RMSE'
          f' {_four(source["rmse"])}, MAE {_four(source["mae"])}'
        )

  def table(self, rows: render.Rows) -> None:
    """Prints rows that share their columns; the first column is a name."""
    shown = table.Table(box=box.SIMPLE_HEAD, pad_edge=False)
    first, *others = render.columns(rows)
    shown.add_column(first, no_wrap=True)
    for name in others:
      shown.add_column(name, justify='right', no_wrap=True)
    for row in rows:
      shown.add_row(*map(str, row.values()))
    # A terminal wraps lines that are too long; rich would cut them.
    console.Console(highlight=False, width=1000).print(shown)

  def difference(
    self,
    name: str,
    other: str,
    measure: str,
    value: float | None,
    low: float | None,
    high: float | None,
  ) -> None:
    """Prints the difference of a measure between two methods, and its interval."""
    verdict = 'no difference beyond chance'
    if low is None or high is None:
      verdict = 'one of them has failed'
    elif low > 0 or high < 0:
      lower_is_better = measure == 'RMSE'
      verdict = f'{name if (high < 0) == lower_is_better else other} is better'
    self.say(
      f'{measure} of {name} minus {other}: {_signed(value)} ({_signed(low)} to'
      f' {_signed(high)}, paired bootstrap over users): {verdict}'
    )


@contextlib.contextmanager
def opened() -> Iterator[Terminal]:
  """A terminal on which every step that takes long prints that it still runs."""
  display = Terminal()
  with display.pulse():
    yield display


def _cells(record):
  """The cells of a record, by the title of their table and by column."""
  failed = ' failed' if record['failed'] else ''
  epoch = {'epoch': f'{record["epoch"]}{failed}'}
  if records.task_of(record) is records.RATING:
    return {RATING_TITLE: _rating_cells(record) | epoch}
  valid = {'valid': _four(record[records.RANKING.valid])}
  return {
    RANKING_TITLE: _ranking_cells(record['test'], 'sampled') | valid | epoch,
    FULL_TITLE: _ranking_cells(record['test'], 'full'),
  }


def _rating_cells(record):
  test = record['test']
  low, high = test['rmse_interval']
  return {
    'RMSE': _four(test['rmse']),
    '95 % interval': f'{_four(low)}-{_four(high)}',
    'MAE': _four(test['mae']),
    'warm': _four(test['rmse_warm']),
    'valid': _four(record[records.RATING.valid]),
  }


def _ranking_cells(test, kind):
  low, high = test[f'{kind}_interval']['ndcg@10']
  return {
    'HR@10': _four(test[kind]['hr@10']),
    'NDCG@10': _four(test[kind]['ndcg@10']),
    '95 % interval': f'{_four(low)}-{_four(high)}',
  }


def _four(value):
  return '-' if value is None else f'{value:.4f}'


def _signed(value):
  return '-' if value is None else f'{value:+.4f}'


class _Training:
  """The progress of one run."""

  def __init__(self, display, title, value, part, parts):
    self._display = display
    self._title = title if parts == 1 else f'[{part + 1}/{parts}] {title}'
    self._value = value
    self._part, self._parts = part, parts  # One bar for all runs.
    self._last = time.monotonic()
    self._bar = progress.Progress(
      progress.TextColumn('{task.description}'),
      progress.BarColumn(bar_width=8),
      progress.TextColumn('{task.completed}/{task.total}'),
      progress.TextColumn('{task.fields[text]}'),
      progress.TimeRemainingColumn(),
      console=display.console,
      transient=True,
      disable=not display.console.is_terminal,
    )
    self._task: Any = None
    self._stage = None
    self._choice = {}  # the metrics of the best choice so far
    self._unsaid = ''  # the line of the last epoch, where it was not printed

  def __enter__(self):
    if not self._bar.disable:
      self._display.say(self._title)
    self._bar.start()
    self._display.step(f'{self._title}: training')
    return self

  def __exit__(self, *_):
    self._bar.stop()
    self._display.step('results')
    if self._unsaid:
      self._display.say(self._unsaid)

  def __call__(self, report):
    text = _text(report, self._value)
    if report.stage != self._stage:
      self._begin(report)
    if 'loss' not in report.metrics:  # A stage that only chooses.
      if report.epoch == np.reshape(report.best_epoch, -1)[_best(report)]:
        self._choice = report.metrics
      text += _chosen(self._choice, _best(report))
    done = report.epoch
    if self._parts > 1:
      done = self._part + report.epoch / report.epochs
    self._bar.update(self._task, completed=done, text=text)
    late = time.monotonic() - self._last >= PAUSE
    last = 'after the last epoch' * (report.epoch == report.epochs)
    self._display.step(
      f'{self._title}: {report.stage}, {last or f"epoch {report.epoch + 1}"}'
    )
    if not self._bar.disable:
      return
    self._unsaid = (
      f'{self._title}: {report.stage} {report.epoch}/{report.epochs}'
      f'  {text}{_aside(report)}'
    )
    if late or report.epoch == report.epochs:
      self._last = time.monotonic()
      self._display.say(self._unsaid)
      self._unsaid = ''

  def _begin(self, report):
    if self._task is not None:
      self._bar.remove_task(self._task)
    self._stage = report.stage
    total = report.epochs if self._parts == 1 else self._parts
    self._task = self._bar.add_task(report.stage, total=total, text='')


def _aside(report):
  """Further metrics of a method that are worth watching."""
  return ''.join(
    f'  {name.replace("_", " ")} {np.mean(report.metrics[name]):.2f}'
    for name in ('domain_accuracy', 'dead_units')
    if name in report.metrics
  )


def _best(report) -> int:
  """The number of the best member."""
  return int(np.nanargmin(report.best_value))


def _chosen(choice, member):
  parts = (f'{name} {np.reshape(each, -1)[member]:g}' for name, each in choice.items())
  return f': {", ".join(parts)}' * bool(choice)


def _text(report, shown_as):
  """Loss, validation value, best value so far and speed of the best member."""
  parts = []
  if 'loss' in report.metrics:
    if not np.any(np.isfinite(report.metrics['loss'])):
      return 'diverged'
    parts.append(f'loss {np.nanmin(report.metrics["loss"]):.4f}')
  if report.value is not None:
    best = _best(report)
    value = np.reshape(report.value, -1)[best]
    at = np.reshape(report.best_epoch, -1)[best]
    parts.append(f'valid {shown_as(value):.4f}')
    parts.append(f'best {shown_as(np.nanmin(report.best_value)):.4f} at {at}')
  if 'ratings' in report.metrics:
    ratings = np.nansum(report.metrics['ratings'])  # NaN for stopped members.
    speed = ratings / report.seconds
    many = speed >= 1e5
    parts.append(f'{speed / 1e6:.2f}M ratings/s' if many else f'{speed:,.0f} ratings/s')
  return '  '.join(parts)
