"""Authentication of REST requests: the principal of a request, or the refusal of its credential.

The decision needs no look-up of a session. The service decides what the principal is allowed to do on a session.
"""

from collections.abc import Mapping

from msgspec import Struct
from starlette.types import Scope

from synckairos.errors import SyncKairosError, Unauthorized
from synckairos.http.client_address import CallerResolver
from synckairos.http.operations import Operation
from synckairos.identity.authenticator import Authenticator, IgnoredCredentialsWarning
from synckairos.identity.metrics_token import MetricsToken
from synckairos.principal import Principal
from synckairos.service.access_rules import ACCESS_RULES
from synckairos.service.authorization import authorize_without_session
from synckairos.tenants.operator_keys import OperatorNetworks

MONITORING_VERBS = ("metrics", "ready")
"""The verbs for which the metrics token is valid."""


class RequestCaller(Struct, frozen=True, kw_only=True):
    """The caller of a request.

    - `principal`: the identity and the rights of the caller. It has no rights if the request has no valid credential.
    - `is_monitor`: whether the request has the metrics token, and the token opens the operation.
    - `refusal`: the error that refuses the request, None if the caller is allowed to use the operation.
    """

    principal: Principal
    is_monitor: bool
    refusal: SyncKairosError | None


class RequestAuthentication:
    """Determines the callers of REST requests."""

    def __init__(
        self,
        caller_identity: CallerResolver,
        authenticator: Authenticator | None,
        metrics_token: MetricsToken | None,
        operator_networks: OperatorNetworks | None = None,
    ) -> None:
        """Create the object.

        `authenticator` is None while authentication is off. `metrics_token` is None if no such token is set.
        `operator_networks` are the networks of operators. None: all.
        """
        self._caller_identity = caller_identity
        self._authenticator = authenticator
        self._metrics_token = metrics_token
        self._operator_networks = operator_networks
        self._ignored_credentials_warning = IgnoredCredentialsWarning()

    async def authenticate(
        self,
        scope: Scope,
        headers: Mapping[bytes, bytes],
        operation: Operation | None,
        path_parameters: Mapping[str, str],
    ) -> RequestCaller:
        """Return the caller of a request, with its refusal if the request is not allowed.

        `headers` are the headers of the request by lower-case name. `operation` is the operation of the request, None
        for a path or a method without an operation. `path_parameters` are the values of the path's parameters by name.
        The rules of the scope `session` are not checked here, see `authorize_without_session`.
        """
        is_monitor, refusal = False, None
        principal = self._principal_without_credential(scope)
        try:
            is_monitor = self._is_monitor(scope, operation)
            if not is_monitor:
                principal = await self._authenticate(scope, headers, operation, principal)
                if operation is not None:
                    participant_id = path_parameters.get("participant_id", "").lower()
                    authorize_without_session(principal, operation.verb, participant_id)
        except SyncKairosError as error:
            refusal = error.with_traceback(None)  # with the traceback, it and this frame would be a reference cycle
        return RequestCaller(principal=principal, is_monitor=is_monitor, refusal=refusal)

    def _principal_without_credential(self, scope: Scope) -> Principal:
        if self._authenticator is None:
            return self._caller_identity.principal_for(scope)
        return Principal.without_rights(self._caller_identity.address_for(scope))

    def _is_monitor(self, scope: Scope, operation: Operation | None) -> bool:
        """Return whether a request has the metrics token, and the token opens the operation.

        Raises: InsecureTransport.
        """
        if self._metrics_token is None or operation is None or operation.verb not in MONITORING_VERBS:
            return False
        return self._metrics_token.accepts(scope)

    async def _authenticate(
        self, scope: Scope, headers: Mapping[bytes, bytes], operation: Operation | None, principal: Principal
    ) -> Principal:
        """Return the principal of the credential of a request.

        `principal` is the principal without a credential. It is the result if authentication is off, or if the
        operation is public.

        Raises: Unauthorized, and the other errors of `Authenticator.authenticate`.
        """
        if self._authenticator is None:
            has_credential = b"authorization" in headers
            if self._metrics_token is not None and operation is not None and operation.verb == "metrics":
                # The operator set the token to protect the metrics, so it is needed although authentication is off.
                message = "/metrics needs the token of SYNCKAIROS_METRICS_TOKEN"
                raise Unauthorized(message, has_credential=has_credential)
            self._ignored_credentials_warning.warn_once_if_sent(has_credential)
            return principal
        if operation is None or ACCESS_RULES[operation.verb].least == "public":
            return principal
        authenticated = await self._authenticator.authenticate(scope, accepts_operators=True)
        if authenticated is None:
            raise Unauthorized("This request needs a token", has_credential=False)
        if authenticated.is_operator and self._operator_networks is not None:
            self._operator_networks.require(scope)
        return authenticated
