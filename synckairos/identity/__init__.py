"""Identity of callers: verification of tokens and authentication of requests.

`authenticator` decides which principal a request has. `token_verifier` verifies tokens with the keys of the settings,
with key sets (JWKS) of issuers, and with signing keys of tenants. All signatures are checked by PyJWT and cryptography.
"""
