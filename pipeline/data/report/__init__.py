"""What was found, as numbers that go into JSON.

scan_report   rates, overlaps, bad rows, where the kept files are from
samples       the few kept files that are shown
removals      what the rules of quality removed
window_stats  what cutting into windows keeps and loses; the key tokens of a vocabulary
"""
