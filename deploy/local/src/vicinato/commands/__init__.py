"""The commands of `vicinato`, a module for each group."""
