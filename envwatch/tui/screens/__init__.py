"""Dashboard, screens and dialogs. Must not know the app."""
