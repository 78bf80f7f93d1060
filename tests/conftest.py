"""One profile for all property tests: no deadline, for machines under load are slow and not wrong."""

from hypothesis import settings

settings.register_profile("envwatch", deadline=None, print_blob=True)
settings.load_profile("envwatch")
