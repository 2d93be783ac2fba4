"""The Train tab.

tab       set up, start, stop and resume runs; refresh what is shown
run_page  HTML of the shown run and of the tables of runs and pushes, read from disk (templates strip, runs, pushes, ...)
charts    charts of the metrics: their lines of few points, drawn by templates chart_head and chart
axes      ranges, ticks and tick labels of the charts
"""
