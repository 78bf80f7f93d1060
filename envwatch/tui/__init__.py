"""The dashboard: Textual screens and widgets that draw a fleet. No rules about presence, no requests of their own."""
