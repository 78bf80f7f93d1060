"""The dashboard in Textual."""
