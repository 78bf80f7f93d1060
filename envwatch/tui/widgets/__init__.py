"""Parts of a screen. Must not know the screens or the app."""
