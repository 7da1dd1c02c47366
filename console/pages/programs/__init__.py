"""Programs: their tokens, the services that they are, the description of the interface, calendars."""
