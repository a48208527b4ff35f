-- Fill the set of a participant, if the lease still holds.
--
-- KEYS  1 set
-- ARGV  1 lease token  2 TTL in ms  3 instant in ms: the set has all sessions that began at or after it
--       4… two for each session: ms at which it began, session id
-- Returns 1, or 0 if the lease was broken.

local lease = redis.call('ZSCORE', KEYS[1], '!filling')
if not lease or -tonumber(lease) ~= tonumber(ARGV[1]) then return 0 end
redis.call('ZREM', KEYS[1], '!filling')
redis.call('ZADD', KEYS[1], '-' .. ARGV[3], '!whole')
for at = 4, #ARGV, 2 do redis.call('ZADD', KEYS[1], ARGV[at], ARGV[at + 1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
