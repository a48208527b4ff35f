-- Remove members that no reader needs from the index of participants and from the index of entries. A worker of an
-- earlier release leaves such members, and so does the removal of a participant.
--
-- A participant is removed if the session is not in Redis, or if it does not run and Postgres has its newest version.
-- Then the next commit of the session must add its participants again. An entry is removed if it is older than all
-- entries in the outbox.
--
-- uses write_replacing_invalid
--
-- KEYS  1 index of participants  2 outbox  3 index of entries
-- ARGV  1 member after which to start ('' to start at the first member)
--       2 the part of a session's key before the session name  3 maximum number of members to check
-- Returns the last checked member, '' at the end of the index.

local from = ARGV[1] == '' and '-' or '(' .. ARGV[1]
local members = write('ZRANGE', KEYS[1], from, '+', 'BYLEX', 'LIMIT', 0, ARGV[3])
local last = ''
for _, member in ipairs(members) do
  local key = ARGV[2] .. string.match(member, '[^ ]*$')
  local session = redis.pcall('HMGET', key, 'version', 'audited', 'status')
  if not session.err and (not session[1] or (session[1] == session[2] and session[3] ~= 'running')) then
    redis.call('ZREM', KEYS[1], member)
    redis.call('HDEL', key, 'indexed')
  end
  last = member
end
local oldest = write('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1]
if oldest then
  write('ZREMRANGEBYSCORE', KEYS[3], '-inf', '(' .. string.match(oldest[1], '^%d+'))
else
  redis.call('DEL', KEYS[3])
end
return #members < tonumber(ARGV[3]) and '' or last
