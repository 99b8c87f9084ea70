"""The networks, each for the layouts it names."""
