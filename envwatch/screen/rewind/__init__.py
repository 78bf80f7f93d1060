"""Going back in time on the screen: destinations, reading, and the visible state."""
