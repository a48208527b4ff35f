"""Members: roles of subjects on sessions and labels, which a tenant administers beside the grants of credentials."""
