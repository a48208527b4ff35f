"""All Redis commands of the product. No package above sends Redis commands, except over arq's own connection."""
