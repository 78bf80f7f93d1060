"""Reports and sentences for a chat."""
