"""Results of scans and filters as JSON-serializable numbers.

scan_report   rates, overlaps, bad rows, origin of the kept files
samples       the few kept files that are shown
removals      what the quality rules removed
licences      one name per licence, where it is certain
window_stats  what cutting into windows keeps and loses; the key tokens of a vocabulary
"""
