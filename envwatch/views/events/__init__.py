"""Events in words: which event a query finds, its sentence, the lines of `watch`, CloudEvents, the line of a day.

Pure.
"""
