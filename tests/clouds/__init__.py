"""Real clouds beside the tests: brought up, filled, recorded, and tests that speak to them (``make test-clouds``)."""
