"""A folder for each kind of cloud; ``providers.registry`` names them, and none knows another."""
