"""Pages of the house itself: home, login, cockpit, search, jobs, mail, calendar, metrics."""
