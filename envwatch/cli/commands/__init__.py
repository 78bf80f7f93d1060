"""A module for each command, with the interface `arguments.CommandModule`."""
