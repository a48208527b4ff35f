-- Remove members that no reader needs from the index of participants. The session of such a member is not in Redis, or
-- it does not run and Postgres has its newest version. A worker of an earlier release leaves such members, and so does
-- the removal of a participant.
--
-- uses write_or_drop
--
-- KEYS  1 index of participants
-- ARGV  1 member after which to start ('' to start at the first member)
--       2 the part of a session's key before the session id  3 maximum number of members to check
-- Returns the last checked member, '' at the end of the index.

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
