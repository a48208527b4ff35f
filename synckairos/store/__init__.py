"""Every Redis command of the product. Nothing above this folder speaks Redis (arq's own connection aside)."""
