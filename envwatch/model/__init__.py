"""Values that all packages use, without imports of other packages of envwatch."""
