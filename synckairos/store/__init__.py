"""All Redis commands of the product. Packages above send no Redis commands, except over arq's own connection."""
