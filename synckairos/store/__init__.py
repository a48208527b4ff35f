"""All Redis commands of the product. Other packages send Redis commands only over arq's own connection."""
