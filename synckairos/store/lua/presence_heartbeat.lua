-- Store the heartbeat of an instance and return the living instances. If the caller requests it, remove dead instances.
-- An instance that sent no heartbeats for some time must not request it. So after a stall of Redis, all instances have
-- time to send a heartbeat.
-- A removed name never returns, because its instance continues under another name.
--
-- uses write_replacing_invalid
--
-- KEYS  1 instances (sorted set: name by the ms of its last heartbeat)  2 number of changes (same hash tag)
-- ARGV  1 name of the instance  2 ms without a heartbeat after which an instance is dead
--       3 '1' if dead instances are to be removed  4 the former name that this new name replaces, '' if it is not new
-- Returns {1 if the instance is in the set, else 0; number of changes; names of the living instances; dropped key; …}

local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
if ARGV[4] ~= '' then
  write('ZREM', KEYS[1], ARGV[4])
  redis.call('ZADD', KEYS[1], now, ARGV[1])
else
  write('ZADD', KEYS[1], 'XX', now, ARGV[1])
end
if ARGV[3] == '1' then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - ARGV[2]))
end
redis.call('EXPIRE', KEYS[1], 3600)
local lives = redis.call('ZSCORE', KEYS[1], ARGV[1]) and 1 or 0
return {lives, tonumber(write('GET', KEYS[2]) or 0) or 0, redis.call('ZRANGE', KEYS[1], 0, -1), unpack(dropped)}
