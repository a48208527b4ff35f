-- Claim sessions whose time has come: their score moves on by a lease, so that another instance looks at them only if
-- this one dies. The version check at the commit, not this claim, makes an expiry happen once. The sessions come with
-- it: many fall due in one second, and a load of its own would be a second trip for each.
--
-- KEYS  1 deadlines
-- ARGV  1 how many  2 lease ms  3 what the sessions' keys begin with (same hash tag)  4… fields of a session
-- Returns {now ms, next due ms or '', id, due ms, fields, id, due ms, fields, …}

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[1])
local lease = string.format('%.0f', now + ARGV[2])
local claimed = {string.format('%.0f', now), ''}
for at = 1, #due, 2 do
  redis.call('ZADD', KEYS[1], lease, due[at])
  claimed[#claimed + 1] = due[at]
  claimed[#claimed + 1] = due[at + 1]
  claimed[#claimed + 1] = redis.call('HMGET', ARGV[3] .. due[at], unpack(ARGV, 4))
end
claimed[2] = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2] or ''
return claimed
