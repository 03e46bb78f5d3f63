"""A rehearsal of what a cluster does: copies of the service are replaced under load, and no request may notice."""
