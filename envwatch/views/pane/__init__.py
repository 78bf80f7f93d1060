"""The text about one environment or several: the detail pane, Explain, remedies, the legend, the sentence for a chat.

Pure.
"""
