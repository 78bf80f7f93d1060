"""Settings with origins, profiles, and credentials. Only reads."""
