"""What is kept on disk: state, log, exports, crash reports; private files, written atomically.

Must not know where the values come from or how they are shown.
"""
