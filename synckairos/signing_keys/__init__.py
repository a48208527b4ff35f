"""Signing keys: public keys of a tenant that verify tokens, in Postgres and in the memory of each instance."""
