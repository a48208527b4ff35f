// The lists of the console: what each one reads, shows and does. Pure. The server decides what the caller may do.

const ROLES = [["viewer", "viewer"], ["participant", "participant"], ["controller", "controller"], ["admin", "admin"]];
const LINK_ROLES = ROLES.slice(0, 3);
const STATUSES = ["pending", "running", "paused", "expired", "completed", "cancelled"];
const all = (values) => [["", "all"], ...values.map((each) => [each, each])];

const joined = (value) => (Array.isArray(value) ? value.join(", ") : value);
const labelsText = (labels) => Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`).join(" ");
const segment = encodeURIComponent;
const onlyFilled = (values) => Object.fromEntries(Object.entries(values).filter(([, value]) => value !== ""));

/**
 * The lists, in the order of the navigation. `path` is the operation that lists them. `needs` is what the caller needs:
 * `any`, `admin`, `credentials` (an administrator while authentication is on), `operator`, or `operation` (an operator, or
 * each caller while authentication is off). `columns` are a title, a function from the entry to its text, and perhaps a
 * function that says whether the entry is being worked on. `link` leads from the first column to another section.
 * `actions(entry)` are requests on one entry: `{label, method, path, body, isFinal}`; the page asks before a final one.
 * `create` is a form for a new entry. `isLive(entries)` is whether the list is read again after some seconds.
 */
export const LISTS = [
  {
    id: "sessions",
    title: "Sessions",
    path: "v1/sessions",
    needs: "admin",
    filters: [
      { name: "label", label: "Label, such as round=3" },
      { name: "status", label: "Status", options: all(STATUSES) },
      { name: "text", label: "Text in the entries that are loaded", isLocal: true },
    ],
    columns: sessionColumns(),
    link: (each) => `session/${each.session_id}`,
  },
  {
    id: "own-sessions",
    title: "My sessions",
    path: "v1/me/sessions",
    needs: "any",
    filters: [{ name: "text", label: "Text in the entries that are loaded", isLocal: true }],
    columns: sessionColumns(),
    link: (each) => `session/${each.session_id}`,
  },
  {
    id: "webhooks",
    title: "Webhooks",
    path: "v1/webhooks",
    needs: "admin",
    columns: [
      ["URL", (each) => each.url],
      ["State", (each) => (each.enabled ? "enabled" : `disabled: ${each.disabled_reason ?? "by a request"}`)],
      ["Fails since", (each) => each.failing_since],
      ["Events", (each) => joined(each.event_types) || "all"],
    ],
    link: (each) => `deliveries/${each.webhook_id}`,
    actions: (each) => {
      const path = `v1/webhooks/${each.webhook_id}`;
      return [
        { label: "Test", method: "POST", path: `${path}/test`, body: {} },
        { label: each.enabled ? "Disable" : "Enable", method: "PATCH", path, body: { enabled: !each.enabled } },
        { label: "New secret", method: "POST", path: `${path}/rotate`, body: {}, shows: "secret" },
        { label: "Delete", method: "DELETE", path, isFinal: true },
      ];
    },
    create: {
      label: "Register an endpoint",
      fields: [{ name: "url", label: "URL", type: "url", required: true }, { name: "description", label: "Description" }],
      body: onlyFilled,
      shows: "secret",
    },
  },
  {
    id: "deliveries",
    title: "Deliveries",
    path: (webhook) => `v1/webhooks/${webhook}/deliveries`,
    needs: "admin",
    parent: "webhooks",
    filters: [{ name: "status", label: "Status", options: all(["pending", "delivered", "failed"]) }],
    columns: [
      ["Event", (each) => each.event_type],
      ["Session", (each) => each.session_id],
      ["Version", (each) => each.version],
      ["Status", (each) => each.status],
      ["Attempts", (each) => attemptsText(each)],
      ["Created", (each) => each.created_at],
    ],
    actions: (each, webhook) => [
      { label: "Send again", method: "POST", path: `v1/webhooks/${webhook}/deliveries/${each.delivery_id}/resend`, body: {} },
    ],
  },
  {
    id: "access",
    title: "Access log",
    path: "v1/access",
    needs: "admin",
    filters: [{ name: "entry", label: "Entries", options: [["", "all"], ["act", "administrative acts"], ["refusal", "refused requests"]] }],
    columns: [
      ["At", (each) => each.at],
      ["Entry", (each) => each.entry],
      ["Caller", (each) => [each.subject, each.role && `(${each.role})`].filter(Boolean).join(" ")],
      ["Address", (each) => each.address],
      ["Action", (each) => [each.action, each.target].filter(Boolean).join(" ")],
      ["Result", (each) => [each.status, each.reason].filter(Boolean).join(" ")],
      ["Times", (each) => each.count],
    ],
  },
  {
    id: "keys",
    title: "API keys",
    path: "v1/keys",
    needs: "credentials",
    columns: [
      ["Id", (each) => each.key_id],
      ["Label", (each) => each.label],
      ["Role", (each) => each.role],
      ["Last used", (each) => each.last_used_at],
      ["Expires", (each) => each.expires_at],
      ["Made by", (each) => each.created_by],
    ],
    actions: (each) => [
      { label: "New secret", method: "POST", path: `v1/keys/${each.key_id}/rotate`, body: {}, shows: "key" },
      { label: "Revoke", method: "DELETE", path: `v1/keys/${each.key_id}`, isFinal: true },
    ],
    create: {
      label: "Make a key",
      fields: [{ name: "role", label: "Role", options: ROLES }, { name: "label", label: "Label" }],
      // A key without grants reaches no session, apart from that of an administrator.
      body: ({ role, label }) => ({ ...onlyFilled({ role, label }), ...(role === "admin" ? {} : { grants: [{ sessions: ["*"] }] }) }),
      shows: "key",
    },
  },
  {
    id: "links",
    title: "Links",
    path: "v1/links",
    needs: "credentials",
    filters: [{ name: "session_id", label: "Session: its id" }],
    columns: [
      ["Id", (each) => each.link_id],
      ["Session", (each) => each.session_id],
      ["Role", (each) => each.role],
      ["Label", (each) => each.label],
      ["Uses", (each) => `${each.uses} of ${each.max_uses}`],
      ["Expires", (each) => each.expires_at],
    ],
    actions: (each) => [{ label: "Revoke", method: "DELETE", path: `v1/links/${each.link_id}`, isFinal: true }],
    create: {
      label: "Make a link",
      fields: [
        { name: "session_id", label: "Session: its id", required: true },
        { name: "role", label: "Role", options: LINK_ROLES },
        { name: "participant_id", label: "Participant: its id, for the role participant" },
      ],
      body: onlyFilled,
      shows: "url",
    },
  },
  {
    id: "members",
    title: "Members",
    path: "v1/members",
    needs: "credentials",
    filters: [{ name: "subject", label: "Subject" }, { name: "resource", label: "Resource" }],
    columns: [["Subject", (each) => each.subject], ["Resource", (each) => each.resource], ["Role", (each) => each.role]],
    actions: ({ subject, resource }) => [
      { label: "Remove", method: "DELETE", path: `v1/members?subject=${segment(subject)}&resource=${segment(resource)}`, isFinal: true },
    ],
    create: {
      label: "Give a role",
      method: "PUT",
      fields: [
        { name: "subject", label: "Subject", required: true },
        { name: "resource", label: "Resource: an id of a session, or label:key=value", required: true },
        { name: "role", label: "Role", options: LINK_ROLES },
      ],
      body: onlyFilled,
    },
  },
  {
    id: "reconciliations",
    title: "Member jobs",
    path: "v1/members/reconciliations",
    needs: "credentials",
    columns: [
      ["Job", (each) => each.job_id],
      ["Status", (each) => each.status],
      ["Attempts", (each) => each.attempts],
      ["Result", (each) => each.error ?? (each.report && JSON.stringify(each.report))],
      ["Created", (each) => each.created_at],
      ["Ended", (each) => each.finished_at],
    ],
    create: { label: "Reconcile the members with their source now", fields: [], body: () => ({}) },
  },
  {
    id: "revocations",
    title: "Revocations",
    path: "v1/revocations",
    needs: "credentials",
    columns: [
      ["At", (each) => each.at],
      ["Credentials", (each) => ["jti", "subject", "grp", "credential", "all"].filter((name) => each[name]).map((name) => `${name} ${each[name]}`).join(" ")],
      ["Effective", (each) => each.effective_at],
      ["Until", (each) => each.until],
      ["By", (each) => each.revoked_by],
    ],
    create: {
      label: "Revoke",
      fields: [
        { name: "kind", label: "Kind", options: [["subject", "all tokens of a subject until now"], ["jti", "one token by its jti"], ["grp", "a group of tokens"], ["credential", "an API key or link"]] },
        { name: "value", label: "Subject, jti, group or id", required: true },
      ],
      body: ({ kind, value }) => ({ [kind]: value }),
      isFinal: true,
    },
  },
  {
    id: "signing-keys",
    title: "Signing keys",
    path: "v1/signing-keys",
    needs: "credentials",
    columns: [
      ["Key id", (each) => each.kid],
      ["Algorithm", (each) => each.algorithm],
      ["Issuer", (each) => each.issuer],
      ["Created", (each) => each.created_at],
    ],
    actions: (each) => [{ label: "Remove", method: "DELETE", path: `v1/signing-keys/${each.signing_key_id}`, isFinal: true }],
  },
  {
    id: "tenants",
    title: "Tenants",
    path: "v1/tenants",
    needs: "operator",
    columns: [
      ["Tenant", (each) => each.tenant],
      ["Status", (each) => each.status],
      ["Description", (each) => each.description],
      ["Limits", (each) => Object.entries(each.limits).filter(([, value]) => value !== null).map(([name, value]) => `${name} ${value}`).join(", ")],
      ["Created", (each) => each.created_at],
    ],
    actions: (each) => {
      const path = `v1/tenants/${segment(each.tenant)}`;
      const isActive = each.status === "active";
      if (each.tenant === "default" || each.status === "deleting" || each.status === "deleted") return [];
      return [
        { label: isActive ? "Suspend" : "Activate", method: "POST", path: `${path}/${isActive ? "suspend" : "activate"}`, body: {}, isFinal: isActive },
        { label: "Delete", method: "DELETE", path, isFinal: true },
      ];
    },
    create: {
      label: "Create a tenant",
      fields: [{ name: "tenant", label: "Name", required: true }, { name: "description", label: "Description" }],
      body: onlyFilled,
    },
  },
  {
    id: "jobs",
    title: "Jobs",
    path: "v1/jobs",
    needs: "operation",
    filters: [{ name: "status", label: "Status", options: all(["queued", "running", "done", "failed"]) }, { name: "type", label: "Kind, such as export" }],
    columns: [
      ["Job", (each) => each.job_id],
      ["Kind", (each) => each.type],
      ["Tenant", (each) => each.tenant],
      ["Status", (each) => each.status],
      ["Progress", (each) => progressText(each), (each) => each.status === "running"],
      ["Attempts", (each) => each.attempts],
      ["Created", (each) => each.created_at],
      ["Took", (each) => (each.duration_ms === undefined ? "" : `${(each.duration_ms / 1000).toFixed(1)} s`)],
    ],
    actions: (each) => (each.status === "failed" ? [{ label: "Retry", method: "POST", path: `v1/jobs/${each.job_id}/retry`, body: {} }] : []),
    isLive: (entries) => entries.some(({ status }) => status === "queued" || status === "running"),
  },
  {
    id: "failed-entries",
    title: "Failed entries",
    path: "v1/failed-entries",
    needs: "operation",
    columns: [
      ["Entry", (each) => each.entry_id],
      ["Tenant", (each) => each.tenant],
      ["Session", (each) => each.session_id],
      ["Version", (each) => each.version],
      ["Attempts", (each) => each.attempts],
      ["Fails since", (each) => each.first_failed_at],
      ["Error", (each) => each.error],
    ],
    actions: (each) => [{ label: "Retry", method: "POST", path: "v1/failed-entries/retry", body: { entry_id: each.entry_id } }],
    create: { label: "Retry all entries", path: "v1/failed-entries/retry", fields: [], body: () => ({}) },
  },
];

/**
 * Return whether a caller may open a section. `caller` is the answer of `GET /v1/me`, with the role `operator` for an operator.
 * `needs` is a value of `LISTS`.
 */
export function mayOpen(caller, needs) {
  if (caller.role === "operator") return needs === "operator" || needs === "operation";
  // While authentication is off there is no operator, and each caller has full access.
  if (needs === "operation") return caller.role === "admin" && caller.kind === "anonymous";
  if (needs === "any") return caller.role !== "admin";
  if (needs === "admin") return caller.role === "admin";
  return needs === "credentials" && caller.role === "admin" && caller.kind !== "anonymous";
}

function sessionColumns() {
  return [
    ["Session", (each) => (typeof each.metadata?.title === "string" && each.metadata.title) || each.session_id],
    ["Mode", (each) => each.sync_mode],
    ["Status", (each) => each.status],
    ["Participants", (each) => each.participants.map((one) => one.display_name ?? one.participant_id).join(", ")],
    ["Labels", (each) => labelsText(each.labels)],
    ["Updated", (each) => each.updated_at],
  ];
}

function attemptsText({ attempts, next_try_at: next }) {
  const last = attempts.at(-1);
  const texts = [`${attempts.length}`];
  if (last) texts.push(`last: ${last.status_code ?? last.error ?? ""}`);
  if (next) texts.push(`next: ${next}`);
  return texts.join(", ");
}

/** Return what a job has done so far, its result, or its error, in one text. */
function progressText({ result, error }) {
  const parts = Object.entries(result ?? {}).filter(([, value]) => typeof value !== "object").map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`);
  return [...(error ? [error] : []), ...parts].join(", ");
}
