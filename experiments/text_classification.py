"""The 80/20 splits of the classification chapter: film sentences and 25,000 film reviews.

::

    python -m experiments.text_classification --seeds 5

The test texts are those whose hash falls into the first fifth (``rnnbook.datasets.split_by_hash``).
"""

from __future__ import annotations
