-- Claim sessions whose time has come: their score moves on by a lease, so that another instance looks at them only if
-- this one dies. The version check at the commit, not this claim, makes an expiry happen once.
--
-- KEYS  1 deadlines   ARGV  1 how many  2 lease ms
-- Returns {now ms, next due ms or '', id, due ms, id, due ms, …}

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[1])
for at = 1, #due, 2 do
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), due[at])
end
local head = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return {string.format('%.0f', now), head[2] or '', unpack(due)}
