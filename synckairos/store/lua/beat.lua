-- Say that an instance lives, and learn which others do. Who was silent for too long is taken out, but not by an
-- instance that was silent itself: after a stall of the store everybody gets the time to come back. A name that was
-- taken out never comes back: whoever had it begins again under another.
--
-- KEYS  1 instances (sorted set: id by the ms at which it was last heard of)  2 count of changes (same hash tag)
-- ARGV  1 instance  2 ms of silence after which one counts as dead  3 '1' if the dead may be taken out
--       4 the name that it gives up for this new one, '' if this isn't new
-- Returns {1 if the instance is among the living, count of changes, the living's ids}

local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
if ARGV[4] ~= '' then
  redis.call('ZREM', KEYS[1], ARGV[4])
  redis.call('ZADD', KEYS[1], now, ARGV[1])
else
  redis.call('ZADD', KEYS[1], 'XX', now, ARGV[1])
end
if ARGV[3] == '1' then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - ARGV[2]))
end
redis.call('EXPIRE', KEYS[1], 3600)
local lives = redis.call('ZSCORE', KEYS[1], ARGV[1]) and 1 or 0
return {lives, tonumber(redis.call('GET', KEYS[2]) or 0), redis.call('ZRANGE', KEYS[1], 0, -1)}
