-- Remove members of the outbox's index of participants that no reader needs: their session is not in Redis, or Postgres
-- has it and it does not run. A worker of an earlier release, and the removal of a participant, leave such members.
--
-- uses write_or_drop
--
-- KEYS  1 participants   ARGV  1 member to continue after ('' from the start)  2 key of a session up to the session id
--       3 maximum number of members to look at
-- Returns the member to continue after, '' at the end.

local from = ARGV[1] == '' and '-' or '(' .. ARGV[1]
local members = write('ZRANGE', KEYS[1], from, '+', 'BYLEX', 'LIMIT', 0, ARGV[3])
local last = ''
for _, member in ipairs(members) do
  local session = redis.pcall('HMGET', ARGV[2] .. string.match(member, '[^ ]*$'), 'version', 'audited', 'status')
  if not session.err and (not session[1] or (session[1] == session[2] and session[3] ~= 'running')) then
    redis.call('ZREM', KEYS[1], member)
  end
  last = member
end
return #members < tonumber(ARGV[3]) and '' or last
