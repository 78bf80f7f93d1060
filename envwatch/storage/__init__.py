"""Files on disk: state, log, history, crash reports; private and written atomically."""
