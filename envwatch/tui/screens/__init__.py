"""Dashboard, screens and dialogs."""
