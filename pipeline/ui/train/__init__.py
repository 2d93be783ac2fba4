"""The Train tab.

tab       set up, start, stop and resume runs; refresh what is shown
run_page  HTML of the shown run and of the tables of runs and pushes, read from disk (templates strip, runs, pushes, ...)
charts    line plots of the metrics and their tables of few points
"""
