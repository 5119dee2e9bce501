import itertools
import sys

import matplotlib
import numpy as np
import pytest

from xdomain.reporting import drawing, figures, plots

Point = figures.Point


def curve(xs, **kwargs):
  """One line over `xs`, and its axes."""
  points = [Point(x, 0.9 + i, 0.8 + i, 1 + i) for i, x in enumerate(xs)]
  figure = figures.curves({'RMSE': {'DARec': points}}, **dict(x_label='beta') | kwargs)
  figure.draw_without_rendering()
  return figure.axes[0]


def tick_labels(axis):
  return [label.get_text() for label in axis.get_ticklabels()]


def legend(figure):
  return [text.get_text() for text in figure.legends[0].get_texts()]


def heat_map(means, **kwargs):
  means = np.asarray(means)
  rows, columns = range(means.shape[0]), range(means.shape[1])
  labels = dict(x_label='beta', y_label='mu', value_label='RMSE')
  return figures.heat_map(columns, rows, means, **labels | kwargs)


def cells(figure):
  return [text.get_text() for text in figure.axes[0].texts]


def bars(values, **kwargs):
  groups = {
    group: {m: Point('', v, v - 0.01, v + 0.01) for m, v in row.items()}
    for group, row in values.items()
  }
  return figures.bars(groups, **dict(y_label='HR@10') | kwargs)


def test_a_line_is_drawn_for_each_name_in_the_order_of_its_numbers():
  lines = {
    'a': [Point(3, 0.3, 0.2, 0.4), Point(1, 0.1, 0.0, 0.2)],
    'b': [Point(1, 0.5), Point(3, 0.6)],
  }
  figure = figures.curves({'RMSE': lines}, x_label='mu')
  axes = figure.axes[0]
  one, two = axes.lines
  np.testing.assert_array_equal(one.get_xydata(), [[1, 0.1], [3, 0.3]])
  assert one.get_marker() != two.get_marker()
  assert one.get_color() != two.get_color()
  assert legend(figure) == ['a', 'b']
  assert (axes.get_xlabel(), axes.get_ylabel()) == ('mu', 'RMSE')


def test_a_band_is_drawn_from_low_to_high():
  (band,) = curve([1, 2]).collections
  vertices = band.get_paths()[0].vertices
  assert vertices[:, 1].min() == pytest.approx(0.8)
  assert vertices[:, 1].max() == pytest.approx(2)


@pytest.mark.parametrize(
  ('xs', 'scale'),
  [
    ([1, 2, 29], 'linear'),
    ([1, 2, 30], 'log'),
    ([0, 0.1, 1], 'linear'),
    ([0, 0.01, 1], 'symlog'),
    ([-1, 0.01, 1], 'linear'),
    ([0], 'linear'),
  ],
)
def test_numbers_that_span_much_are_on_a_logarithmic_scale(xs, scale):
  assert curve(xs).get_xscale() == scale


def test_ticks_are_at_the_swept_values():
  axes = curve([0, 0.001, 0.1, 10])
  assert list(axes.get_xticks()) == [0, 0.001, 0.1, 10]
  assert tick_labels(axes.xaxis) == ['0', '0.001', '0.1', '10']
  assert not len(axes.xaxis.get_minorticklocs())


def test_texts_are_ticks_in_their_order():
  assert tick_labels(curve(['b', 'a']).xaxis) == ['b', 'a']


@pytest.mark.parametrize(
  'xs',
  [
    np.arange(1, 60),
    np.geomspace(1, 2e5, 40),
    [f'name {i}' for i in 'abcdefgh'],
  ],
)
def test_labels_of_ticks_do_not_overlap(xs):
  axes = curve(xs)
  shown = [label for label in axes.get_xticklabels() if label.get_text()]
  slope = np.deg2rad(shown[0].get_rotation())
  starts = [label.get_window_extent() for label in shown]
  for left, right in itertools.pairwise(starts):
    if slope:
      assert (right.x1 - left.x1) * np.sin(slope) > 0.7 * 8 * 100 / 72
    else:
      assert right.x0 > left.x1
  assert len(shown) > 5


@drawing.styled
def test_labels_under_ranked_methods_do_not_overlap():
  points = {'a': Point('', 0.028, 0.0275, 0.0286), 'b': Point('', 0.038, 0.036, 0.04)}
  figure = figures.ranked({'full NDCG@10': points, 'sampled': points})
  figure.draw_without_rendering()
  for axes in figure.axes:
    extents = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert all(b.x0 > a.x1 + 2 for a, b in itertools.pairwise(extents))
    assert len(extents) > 2


def test_measures_of_several_scales_have_panels_with_one_legend():
  gains = {
    'HR@10': {'a': [Point(0, 0.7), Point(1, 0.8)], 'b': [Point(1, 0.6)]},
    'NDCG@10': {'b': [Point(0, 0.4)], 'a': [Point(1, 0.5)]},
    'full HR@10': {'c': [Point(1, 0.2)]},
  }
  figure = figures.curves(gains, x_label='beta')
  figure.draw_without_rendering()
  assert [axes.get_ylabel() for axes in figure.axes] == [*gains]
  assert {axes.get_xlabel() for axes in figure.axes} == {'beta'}
  assert legend(figure) == ['a', 'b', 'c']
  hr, ndcg, full = figure.axes
  assert hr.lines[0].get_color() == ndcg.lines[1].get_color()
  assert full.get_ylim()[1] < 0.3 < hr.get_ylim()[0]
  inside(figure, [axes.xaxis.label for axes in figure.axes] + figure.legends)


def test_without_matplotlib_a_line_says_what_to_install(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'matplotlib.style', None)
  said = []
  plots.save(lambda: curve([1, 2]), tmp_path, said.append)
  assert said == ['no plot: matplotlib is not installed; run pip install matplotlib']
  assert not list(tmp_path.iterdir())


def test_a_failed_point_is_a_cross():
  lines = {'a': [Point(1, 0.5), Point(2, float('nan')), Point(3, None)]}
  figure = figures.curves({'RMSE': lines}, x_label='mu')
  crosses = figure.axes[0].lines[1]
  assert (list(crosses.get_xdata()), crosses.get_marker()) == ([2, 3], 'x')
  assert legend(figure) == ['a', 'a failed']


def test_the_best_cell_is_outlined():
  def outlined(**kwargs):
    patch = heat_map([[0.1, 0.4, 0.2], [0.3, 0.2, 0.3]], **kwargs)
    return patch.axes[0].patches[-1].get_xy()

  assert outlined() == (0.5, -0.5)
  assert outlined(lower_is_better=True) == (-0.5, -0.5)


def test_a_cell_shows_its_mean_and_one_that_failed_says_so():
  figure = heat_map([[0.12345, np.nan], [0.1, np.inf]], lower_is_better=True)
  assert cells(figure) == ['0.1235', 'failed', '0.1000', 'failed']
  grey = [p for p in figure.axes[0].patches if p.get_hatch()]
  assert [p.get_xy() for p in grey] == [(0.5, -0.5), (0.5, 0.5)]
  assert figure.axes[0].patches[-1].get_xy() == (-0.5, 0.5)


def test_cells_have_the_digits_that_tell_them_apart():
  assert cells(heat_map([[100.0, 250.0]])) == ['100', '250']
  assert cells(heat_map([[0.1, 0.9]])) == ['0.100', '0.900']
  assert cells(heat_map([[3.0]])) == ['3.00']


def test_the_rows_and_columns_of_a_heat_map_are_labelled():
  axes = figures.heat_map(
    (0.001, 0.1),
    ('adam', 'sgd', 'lamb'),
    np.ones((3, 2)),
    x_label='lr',
    y_label='step',
    value_label='RMSE',
  ).axes
  assert tick_labels(axes[0].xaxis) == ['0.001', '0.1']
  assert tick_labels(axes[0].yaxis) == ['adam', 'sgd', 'lamb']
  assert axes[1].get_ylabel() == 'RMSE'


def test_bars_stand_side_by_side_in_their_group():
  figure = bars({'one': {'a': 0.2, 'b': 0.9}, 'two': {'b': 0.5}})
  axes = figure.axes[0]
  a, b = axes.containers[0], axes.containers[2]
  assert [bar.get_height() for bar in a] == [0.2]
  assert [bar.get_height() for bar in b] == [0.9, 0.5]
  assert a[0].get_x() + a[0].get_width() == pytest.approx(b[0].get_x())
  assert b[1].get_x() - b[0].get_x() == pytest.approx(1)
  assert tick_labels(axes.xaxis) == ['one', 'two']
  assert legend(figure) == ['a', 'b']


def test_whiskers_are_the_interval():
  figure = bars({'one': {'a': 0.2}})
  (whisker,) = figure.axes[0].containers[1][2][0].get_segments()
  np.testing.assert_allclose(whisker[:, 1], [0.19, 0.21])


def test_bars_of_one_seed_have_no_whiskers_and_those_that_failed_say_so():
  groups = {'one': {'a': Point('', 0.5), 'b': Point('', float('nan'))}}
  axes = figures.bars(groups, y_label='HR').axes[0]
  whisker = axes.containers[1][2][0].get_segments()[0]
  assert not np.isfinite(whisker).any()
  (text,) = axes.texts
  assert text.get_text() == 'failed'
  assert text.get_position()[0] == pytest.approx(0.21)


def test_twelve_methods_look_different():
  figure = bars({'one': {f'method {i}': 0.1 * i for i in range(1, 13)}})
  patches = figure.axes[0].patches
  looks = {(p.get_facecolor(), p.get_hatch()) for p in patches}
  assert len(looks) == 12


def test_an_axis_that_does_not_start_at_0_says_so():
  close = bars({'one': {'a': 0.9, 'b': 0.95}}).axes[0]
  assert close.get_ylim()[0] > 0.8
  assert close.get_ylabel() == 'HR@10\n(axis does not start at 0)'
  for far in ({'a': 0.3, 'b': 0.9}, {'a': -0.3, 'b': 0.9}):
    axes = bars({'one': far}).axes[0]
    assert axes.get_ylim()[0] <= 0
    assert axes.get_ylabel() == 'HR@10'


def test_a_reference_stands_on_its_bar_and_in_the_axis():
  values = {'one': {'a': 0.9, 'b': 0.95}, 'absent': {}}
  reference = {'one': {'b': 0.7, 'other': 1}, 'absent': {'a': 0.8}}
  axes = bars(values, reference=reference).axes[0]
  paper = axes.lines[-1]
  at = paper.get_xydata()
  np.testing.assert_allclose(at[np.isfinite(at[:, 1])], [[0.21, 0.7], [0.79, 0.8]])
  assert paper.get_marker() == 'D'
  assert 0 <= axes.get_ylim()[0] < 0.7
  assert 'paper' in legend(axes.figure)


def test_methods_are_ranked_by_the_first_panel_with_their_intervals():
  nan = float('nan')
  full = {'a': Point('', 0.1, 0.08, 0.12), 'b': Point('', 0.3, 0.2, 0.4)}
  full['failed'] = Point('', nan)
  sampled = {'a': Point('', 0.9), 'absent': Point('', 0.8)}
  panels, of_paper = {'full': full, 'sampled': sampled}, {'sampled': {'a': 0.7}}
  figure = figures.ranked(panels, reference=of_paper)
  left, right = figure.axes
  names = [label.get_text() for label in left.get_yticklabels()]
  assert names == ['b', 'a', 'failed', 'absent']
  top = left.get_ylim()[1]
  assert top < 0 < left.get_ylim()[0]
  np.testing.assert_array_equal(left.lines[0].get_xydata(), [[0.2, 0], [0.4, 0]])
  np.testing.assert_array_equal(left.lines[1].get_xydata(), [[0.3, 0]])
  assert cells(figure) == ['failed']
  np.testing.assert_array_equal(right.lines[2].get_xydata(), [[0.7, 1]])
  assert left.get_xlim()[0] == 0 and 0 < right.get_xlim()[0] < 0.7
  assert legend(figure) == ['paper']
  inside(figure, [*left.get_yticklabels(), left.xaxis.label, *figure.legends])


def inside(figure, artists):
  figure.draw_without_rendering()
  page = figure.bbox.padded(1)
  for artist in artists:
    box = artist.get_window_extent()
    assert page.x0 <= box.x0 <= box.x1 <= page.x1
    assert page.y0 <= box.y0 <= box.y1 <= page.y1


def test_long_names_stay_on_the_page_and_off_the_bars():
  names = [f'a method with a long name, {i}' for i in range(12)]
  figure = bars({name: dict.fromkeys(names, 0.3) for name in names[:4]})
  axes, box = figure.axes[0], figure.legends[0]
  inside(figure, [box, *axes.get_xticklabels(), axes.yaxis.label])
  assert box.get_window_extent().y1 <= axes.get_tightbbox().y0


def test_whiskers_need_not_hold_the_mean():
  groups = {'one': {'a': Point('', 0.5, 0.6, 0.7)}}
  axes = figures.bars(groups, y_label='HR').axes[0]
  (whisker,) = axes.containers[1][2][0].get_segments()
  np.testing.assert_allclose(whisker[:, 1], [0.6, 0.7])


def test_bars_may_all_have_failed():
  groups = {'one': {'a': Point('', float('nan'))}}
  figure = figures.bars(groups, y_label='HR')
  assert cells(figure) == ['failed']


def test_a_line_without_points_leaves_the_others():
  lines = {'a': [], 'b': [Point(1, 0.5)]}
  axes = figures.curves({'RMSE': lines}, x_label='mu').axes[0]
  assert [len(line.get_xdata()) for line in axes.lines] == [0, 1]


def test_a_group_without_a_method_keeps_its_place():
  axes = bars({'one': {'a': 0.3}, 'absent': {}}).axes[0]
  assert axes.get_xlim() == (-0.5, 1.5)


@pytest.mark.parametrize('name', ['WWWWWWWWWWWW', 'iiiiiiiiiiiiiiiiiiiiiiii'])
def test_a_legend_of_wide_letters_stays_on_the_page(name):
  figure = bars({'one': {f'{name} {i}': 0.3 for i in range(5)}})
  inside(figure, figure.legends)


def drawn():
  return {
    'curves': curve([0, 0.01, 1]).figure,
    'heat': heat_map([[0.1, np.nan]]),
    'bars': bars({'one': {f'm{i}': 0.1 + i for i in range(8)}}),
    'ranked': figures.ranked({'x': {'a': Point('', 0.1, 0.05, 0.2)}}),
  }


@pytest.mark.parametrize(
  'kind',
  [
    'curves',
    *(pytest.param(k, marks=pytest.mark.matrix) for k in ('heat', 'bars', 'ranked')),
  ],
)
def test_files_are_the_same_bytes_every_time(tmp_path, kind):
  def files(folder):
    written = figures.save(drawn()[kind], tmp_path / folder / 'beta=0.5')
    assert [p.name for p in written] == ['beta=0.5.png', 'beta=0.5.svg']
    assert sorted(written) == sorted((tmp_path / folder).iterdir())
    return [path.read_bytes() for path in written]

  with matplotlib.rc_context({'font.size': 20, 'savefig.dpi': 10}):
    first = files('first')
  png, svg = first
  assert first == files('second')
  assert png.startswith(b'\x89PNG') and b'<svg' in svg and b'dc:date' not in svg


def test_saving_again_replaces_both_files(tmp_path):
  figure = curve([1, 2]).figure
  first = [p.read_bytes() for p in figures.save(figure, tmp_path / 'f')]
  assert [p.read_bytes() for p in figures.save(figure, tmp_path / 'f')] == first


def test_no_figure_is_left_open_and_no_setting_changed(tmp_path):
  before = dict(matplotlib.rcParams)
  for name, figure in drawn().items():
    figures.save(figure, tmp_path / name)
  assert dict(matplotlib.rcParams) == before
  pyplot = sys.modules.get('matplotlib.pyplot')
  assert pyplot is None or not pyplot.get_fignums()


def test_nothing_to_draw_is_an_error():
  labels = dict(x_label='x', y_label='y')
  with pytest.raises(ValueError, match='no line has a point'):
    figures.curves({'RMSE': {'a': []}}, x_label='x')
  with pytest.raises(ValueError, match='no group has a method'):
    figures.bars({'one': {}}, y_label='y')
  with pytest.raises(ValueError, match='nothing to draw'):
    figures.ranked({'one': {}})
  for means in (np.ones((2, 2)), np.full((1, 2), np.nan)):
    with pytest.raises(ValueError, match='nothing to draw'):
      figures.heat_map((1, 2), (1,), means, value_label='v', **labels)
  with pytest.raises(ValueError, match='nothing to draw'):
    figures.heat_map((), (), np.ones((0, 0)), value_label='v', **labels)
