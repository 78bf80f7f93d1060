"""Files on disk: state, log, history, crash reports. All are private and written atomically."""
