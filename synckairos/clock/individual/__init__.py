"""The mode `individual`: each participant has an own clock, and several clocks run at the same time.

`row_clock.py` has the rules of one clock, `clock_rows.py` the participants of a session with an index of their
deadlines. The other modules apply commands, time and recoveries to many clocks in one version.
"""
