-- Claim due sessions and load them. The scores of claimed sessions grow by a lease, so that another instance claims
-- the sessions only if this instance dies. The version check of the commit, not the claim, ensures that each expiry
-- happens once. The sessions are loaded here because many sessions can fall due in one second. Loading each session
-- separately would take one more round trip per session.
--
-- uses write_replacing_invalid
--
-- KEYS  1 deadlines
-- ARGV  1 maximum number of sessions  2 lease in ms
--       3 the part of a session's key before the session name (same hash tag)  4… fields of a session
-- Returns {now ms, next due ms or '', dropped key or '', name, due ms, fields, name, due ms, fields, …}. The fields are an
-- error reply if the session's key holds invalid data.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = write('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[1])
if #dropped > 0 then redis.call('SET', KEYS[1] .. ':rebuild', '1') end
local lease = string.format('%.0f', now + ARGV[2])
local claimed = {string.format('%.0f', now), '', dropped[1] or ''}
for at = 1, #due, 2 do
  redis.call('ZADD', KEYS[1], lease, due[at])
  claimed[#claimed + 1] = due[at]
  claimed[#claimed + 1] = due[at + 1]
  claimed[#claimed + 1] = redis.pcall('HMGET', ARGV[3] .. due[at], unpack(ARGV, 4))
end
claimed[2] = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2] or ''
return claimed
