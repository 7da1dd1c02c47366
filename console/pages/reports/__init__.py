"""Pages of reports: their editions, what each says, its files."""
