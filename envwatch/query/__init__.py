"""The filter language: from the words that a person types to a test of each environment.

`language` has the grammar and what a query means, `tokens` cuts the text, `literals` reads durations, dates and
versions, `kinds` and `fields` say what can be asked about, and `hints` completes what is being typed.
"""
