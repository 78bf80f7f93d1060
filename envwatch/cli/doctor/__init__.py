"""The checks of `envwatch doctor`; each check is a function."""
