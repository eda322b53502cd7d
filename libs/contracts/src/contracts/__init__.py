"""The facts that the services tell each other: event models, versioned."""
