"""What is kept on disk: state, log, exports, crash reports; and the redaction of secrets in every text that leaves.

Files are private and written atomically. Must not know where outcomes come from, nor how they are shown.
"""
