r"""What the papers' texts claim, and which cells of our tables ask it.

python -m experiments.claims

A claim is one or more sums of signed cells, each of which it says is above 0:
of errors (RMSE) `better('A', 'B')` is B less A, of HR and NDCG A less B. Claims
on Amazon's data are asked of the pairs that stand in for it.
"""

from typing import NamedTuple


class Claim(NamedTuple):
  """A sentence of a paper, and the comparisons that it stands for."""

  paper: str
  where: str
  text: str
  tables: tuple[str, ...]  # folders in results/, each one set of data
  measure: str
  sums: tuple  # of (sign, row, column); a column None is the only one
  printed: str = ''  # what the paper measured
  equal: bool = False  # says that the sums are about 0 instead


def better(winner, loser, column=None, other=None):
  """The first has a lower error than the second, each in its column."""
  return ((-1, winner, column), (1, loser, other or column))


def higher(winner, loser, column=None, other=None):
  """The first is above the second, each in its column."""
  return ((1, winner, column), (-1, loser, other or column))


DAREC = 'DARec'
TABLE2 = (
  'darec_table2',
  'darec_table2_amazon_movies_books',
  'darec_table2_douban_book_music',
)
FIGURE3 = ('darec_figure3',)
MOST = '90 %'
SINGLE = ('PMF', 'U-RBM', 'U-AutoRec', 'U-DARec', 'I-AutoRec', 'CF-NADE')
CROSS = ('CMF', 'CDTF', 'FM-CDCF', 'CoNet', 'U-DARec')
RATING = (
  Claim(
    DAREC,
    'Figure 3',
    'U-DARec is better than U-AutoRec, on all data sets',
    TABLE2,
    'rmse',
    (better('U-DARec', 'U-AutoRec', MOST),),
    '3.66 % (pair 1), 4.30 % (pair 2)',
  ),
  Claim(
    DAREC,
    'Figure 3',
    'I-DARec is better than I-AutoRec, on all data sets',
    TABLE2,
    'rmse',
    (better('I-DARec', 'I-AutoRec', MOST),),
  ),
  Claim(
    DAREC,
    'Figure 2',
    'U-DARec gains more over U-AutoRec than I-DARec over I-AutoRec',
    TABLE2,
    'rmse',
    (better('U-DARec', 'U-AutoRec', MOST) + better('I-AutoRec', 'I-DARec', MOST),),
  ),
  Claim(
    DAREC,
    'Figure 3',
    'U-DARec is worse than I-AutoRec and than CF-NADE',
    FIGURE3,
    'rmse',
    (better('I-AutoRec', 'U-DARec'), better('CF-NADE', 'U-DARec')),
  ),
  Claim(
    DAREC,
    'Figure 3',
    'I-DARec is best beside all single-domain methods',
    FIGURE3,
    'rmse',
    tuple(better('I-DARec', other) for other in SINGLE),
  ),
  Claim(
    DAREC,
    'Table 2',
    'CoNet is better than FM-CDCF',
    TABLE2,
    'rmse',
    (better('CoNet', 'FM-CDCF', MOST),),
    '2.38 % (pair 1)',
  ),
  Claim(
    DAREC,
    'Table 2',
    'I-DARec is better than FM-CDCF',
    TABLE2,
    'rmse',
    (better('I-DARec', 'FM-CDCF', MOST),),
    '3.45 % (pair 1)',
  ),
  Claim(
    DAREC,
    'Table 2',
    'CoNet performs better than U-DARec',
    TABLE2,
    'rmse',
    (better('CoNet', 'U-DARec', MOST),),
    '1.34 % (pair 1), reversed on pair 3',
  ),
  Claim(
    DAREC,
    'Table 2',
    'I-DARec is best everywhere',
    TABLE2,
    'rmse',
    tuple(
      better('I-DARec', other, column) for column in ('80 %', MOST) for other in CROSS
    ),
  ),
  Claim(
    DAREC,
    'Table 2',
    'deep methods are better than CMF, CDTF and FM-CDCF',
    TABLE2,
    'rmse',
    tuple(
      better(deep, other, MOST)
      for deep in ('CoNet', 'U-DARec', 'I-DARec')
      for other in ('CMF', 'CDTF', 'FM-CDCF')
    ),
  ),
  Claim(
    DAREC,
    'Figure 2',
    'U-DARec is best at a width of about 800',
    ('darec_figure2',),
    'rmse',
    tuple(
      better('U-DARec', 'U-DARec', '800', width)
      for width in ('200', '400', '500', '1200')
    ),
  ),
  Claim(
    DAREC,
    'Figure 2',
    'I-DARec is best at a width of about 400',
    ('darec_figure2',),
    'rmse',
    tuple(
      better('I-DARec', 'I-DARec', '400', width)
      for width in ('200', '500', '800', '1200')
    ),
  ),
)

SHAREDVAE = 'SharedVAE'
TABLE4 = ('sharedvae_table4',)
TABLE7 = ('sharedvae_table7',)
BETA = ('sharedvae_figure2',)
ABLATION = ('sharedvae_figure3',)
NDCG, HR = 'sampled ndcg@10', 'sampled hr@10'
RANKING = (
  Claim(
    SHAREDVAE,
    'Table 4',
    'SharedVAE is better than CoNet',
    TABLE4,
    HR,
    (higher('SharedVAE', 'CoNet'),),
    '7.8 % (Amazon 19.9 %)',
  ),
  Claim(
    SHAREDVAE,
    'Table 4',
    'SharedVAE is best of the methods compared',
    TABLE4,
    NDCG,
    tuple(
      higher('SharedVAE', other) for other in ('BPR', 'CMF', 'MLP', 'EMCDR', 'CoNet')
    ),
  ),
  Claim(
    SHAREDVAE,
    'Table 4',
    'MLP is better than CoNet on MovieLens',
    TABLE4,
    NDCG,
    (higher('MLP', 'CoNet'),),
    '1.4 %',
  ),
  Claim(
    SHAREDVAE,
    'Figure 2',
    'a beta above 0 gains a little HR on MovieLens',
    BETA,
    HR,
    (higher('SharedVAE', 'SharedVAE', 'beta 1', 'beta 0'),),
  ),
  Claim(
    SHAREDVAE,
    'Figure 2',
    'NDCG falls as beta grows, on MovieLens',
    BETA,
    NDCG,
    (higher('SharedVAE', 'SharedVAE', 'beta 1', 'beta 100'),),
  ),
  Claim(
    SHAREDVAE,
    'Figure 2',
    'HR falls as beta grows, on MovieLens',
    BETA,
    HR,
    (higher('SharedVAE', 'SharedVAE', 'beta 1', 'beta 100'),),
  ),
  Claim(
    SHAREDVAE,
    'Figure 3',
    'Single0 and Merged0 are below Single and Merged',
    ABLATION,
    NDCG,
    (higher('Single', 'Single0'), higher('Merged', 'Merged0')),
  ),
  Claim(
    SHAREDVAE,
    'Figure 3',
    'Single and Merged are much below SharedVAE',
    ABLATION,
    NDCG,
    (higher('SharedVAE', 'Single'), higher('SharedVAE', 'Merged')),
  ),
  Claim(
    SHAREDVAE,
    'Figure 3',
    'Single is better than Merged',
    ABLATION,
    NDCG,
    (higher('Single', 'Merged'),),
  ),
  Claim(
    SHAREDVAE,
    'Figure 3',
    'SharedVAE is better than MMD0',
    ABLATION,
    HR,
    (higher('SharedVAE', 'MMD0'),),
    '3.38 %, cut-off unreadable (Amazon 2.76 %)',
  ),
  Claim(
    SHAREDVAE,
    'Figure 3',
    'a Single of fair size is in the range of Single',
    ABLATION,
    NDCG,
    (
      higher('Single, fair size', 'Single'),
      higher('Single0, fair size', 'Single0'),
    ),
    'not shown',
    equal=True,
  ),
  Claim(
    SHAREDVAE,
    'section 5.3',
    'a latent size of 128 is best',
    ('sharedvae_latent',),
    NDCG,
    tuple(
      higher('SharedVAE', 'SharedVAE', 'latent 128', f'latent {size}')
      for size in (16, 32, 64, 256)
    ),
  ),
  Claim(
    SHAREDVAE,
    'Table 5',
    'the more is shown of the target, the better',
    ('sharedvae_table5',),
    NDCG,
    (
      higher('100 %', '0 %'),
      higher('100 %', '50 %'),
      higher('50 %', '0 %'),
    ),
    '78 % from 0 to 100 % (Amazon)',
  ),
  Claim(
    SHAREDVAE,
    'Table 7',
    'for new people, SharedVAE is best, then MLP',
    TABLE7,
    HR,
    (higher('SharedVAE', 'MLP'), higher('MLP', 'BPR'), higher('MLP', 'EMCDR')),
    '13.7 % over MLP (Amazon 45.3 %)',
  ),
  Claim(
    SHAREDVAE,
    'section 4',
    'the cold-start model beats the generic one',
    TABLE7,
    NDCG,
    (higher('SharedVAE', 'SharedVAE, generic'),),
  ),
  Claim(
    SHAREDVAE,
    'Table 8',
    'auxiliary vectors help',
    ('sharedvae_table8',),
    HR,
    (higher('Yes', 'No'),),
    '11.0 % (Amazon)',
  ),
)
# The papers rank among sampled negatives; the order in a full catalogue can be
# another.
FULL = tuple(
  claim._replace(measure=claim.measure.replace('sampled', 'full'), printed='not asked')
  for claim in RANKING
)
CLAIMS = RATING + RANKING + FULL
