"""The text about one environment or several: the detail pane and its layout, Explain, remedies, the legend.

Pure.
"""
