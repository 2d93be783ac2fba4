"""The Train tab.

tab       set up, start, stop and resume runs; refresh what is shown
run_page  one run as HTML, read from disk
charts    metrics as short tables that a line plot can bear
"""
