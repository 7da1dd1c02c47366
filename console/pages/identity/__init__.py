"""Pages of identities from elsewhere: sources, their rules, whose account is whose, emergency accounts."""
