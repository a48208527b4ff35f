-- Say that an instance lives, and learn which others do. Who was silent for too long is taken out, but not by an
-- instance that was silent itself: after a stall of the store everybody gets the time to come back.
--
-- KEYS  1 instances (sorted set: id by the ms at which it was last heard of)  2 count of changes (same hash tag)
-- ARGV  1 instance  2 ms of silence after which one counts as dead  3 '1' if the dead may be taken out
-- Returns {1 if the instance was known before, count of changes, the living's ids}

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1]) == 0
if ARGV[3] == '1' then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - ARGV[2]))
end
redis.call('EXPIRE', KEYS[1], 3600)
return {known and 1 or 0, tonumber(redis.call('GET', KEYS[2]) or 0), redis.call('ZRANGE', KEYS[1], 0, -1)}
