"""The terminal, and every use of Textual's private parts."""
