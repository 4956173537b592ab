"""Speed as ratios within one run, against peers whose results our certificate judges.

`python -m tests.benchmarks` prints the table and draws it; `pytest -m slow -n 0 tests/benchmarks`
times the same work with pytest-benchmark. The ordinary `pytest` times nothing.
"""
