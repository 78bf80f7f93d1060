"""Values as plain JSON: what history, recordings and state files share."""
