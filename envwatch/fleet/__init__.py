"""The state machine: `Monitor.apply` takes an outcome and returns the next state and the events between the two.

Pure: no I/O, and clocks are arguments. Must not know the filter language, how anything is shown, where outcomes come
from, or where state is stored.
"""
