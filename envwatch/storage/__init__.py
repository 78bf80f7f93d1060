"""What is kept on disk: state, log, history, crash reports.

Files are private and written atomically. Must not know where outcomes come from, nor how they are shown.
"""
