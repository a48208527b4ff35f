"""Refusals of requests that concern webhooks, revocations, signing keys, stored credentials and tenants."""

from synckairos.errors.base import SyncKairosError


class WebhookDisabled(SyncKairosError):
    """The webhook endpoint is disabled. It receives no messages until an operator enables it."""

    code = "WEBHOOK_DISABLED"
    status = 409

    def __init__(self, webhook_id: str) -> None:
        super().__init__(f"Webhook {webhook_id} is disabled; enable it first")


class TooManyWebhooks(SyncKairosError):
    """There are already `limit` webhook endpoints, the maximum. The new webhook endpoint was refused."""

    code = "TOO_MANY_WEBHOOKS"
    status = 409

    def __init__(self, limit: int) -> None:
        super().__init__(f"At most {limit} webhook endpoints are allowed; delete one first")
        self.limit = limit


class TooManyRevocations(SyncKairosError):
    """The store already has the maximum number of revocations that still have an effect."""

    code = "TOO_MANY_REVOCATIONS"
    status = 409

    def __init__(self) -> None:
        super().__init__("The tenant has the maximum of revocations. Revoke by grp, subject or all instead of jti")


class SigningKeyExists(SyncKairosError):
    """Another key of the tenant, or a key of a key set of the settings, has the key id `kid`."""

    code = "SIGNING_KEY_EXISTS"
    status = 409

    def __init__(self, kid: str) -> None:
        super().__init__("A key with this kid exists already. Choose another kid, or remove the other key first")
        self.kid = kid


class TooManySigningKeys(SyncKairosError):
    """The tenant already has `limit` signing keys, the maximum. The new key was refused."""

    code = "TOO_MANY_SIGNING_KEYS"
    status = 409

    def __init__(self, limit: int) -> None:
        super().__init__(f"At most {limit} signing keys are allowed; remove one first")
        self.limit = limit


class TooManyMembers(SyncKairosError):
    """A subject would have more than `limit` member rows, the maximum. No row was changed."""

    code = "TOO_MANY_MEMBERS"
    status = 409

    def __init__(self, subject: str, limit: int) -> None:
        super().__init__(f"At most {limit} members of one subject are allowed, and {subject} would have more")
        self.subject = subject
        self.limit = limit


class ReconciliationRunning(SyncKairosError):
    """A reconciliation of the members of this tenant is queued or running. Only one can be requested at a time."""

    code = "RECONCILIATION_RUNNING"
    status = 409

    def __init__(self) -> None:
        super().__init__("A reconciliation of the members is queued or running. List them to read its report")


class JobNotFailed(SyncKairosError):
    """The background job cannot be retried, because its status is not `failed`."""

    code = "JOB_NOT_FAILED"
    status = 409

    def __init__(self, job_id: int, job_status: str) -> None:
        super().__init__(f"Job {job_id} is {job_status}: only a failed job can be retried")


class TenantExists(SyncKairosError):
    """There is already a tenant with this name. The name of a deleted tenant also stays in use."""

    code = "TENANT_EXISTS"
    status = 409

    def __init__(self, tenant: str) -> None:
        super().__init__(f"Tenant {tenant} exists already, or was deleted; names of deleted tenants stay refused")


class TenantDeleted(SyncKairosError):
    """The tenant is being deleted or was deleted, so it cannot be changed."""

    code = "TENANT_DELETED"
    status = 409

    def __init__(self, tenant: str) -> None:
        super().__init__(f"Tenant {tenant} is deleted and cannot be changed")


class TooManyTenants(SyncKairosError):
    """There are already `limit` tenants, the maximum. The new tenant was refused."""

    code = "TOO_MANY_TENANTS"
    status = 409

    def __init__(self, limit: int) -> None:
        super().__init__(f"At most {limit} tenants are allowed; delete one first")
        self.limit = limit


class CredentialNotFound(SyncKairosError):
    """The tenant has no valid credential of this kind with this id."""

    code = "CREDENTIAL_NOT_FOUND"
    status = 404

    def __init__(self, kind: str) -> None:
        super().__init__(f"There is no {kind} with this id that is valid; list them to find its id")
        self.kind = kind


class TooManyCredentials(SyncKairosError):
    """The maximum `limit` of valid credentials of this kind is reached. The new one was refused.

    The maximum is that of the tenant, or of `of`, such as "one caller".
    """

    code = "TOO_MANY_CREDENTIALS"
    status = 409

    def __init__(self, kind: str, limit: int, of: str = "the tenant") -> None:
        super().__init__(f"At most {limit:,} valid credentials of the kind {kind} are allowed for {of}; revoke one")
        self.kind = kind
        self.limit = limit
