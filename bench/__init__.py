"""Speed and size of Andon, as ratios measured side by side in one run.

`python -m bench` prints a table and writes JSON; `docs/benchmarks.md` keeps the figures.
"""
