"""All Redis commands of the product, except the commands of the arq queue and of the check `doctor`."""
