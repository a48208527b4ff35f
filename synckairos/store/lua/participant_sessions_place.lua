-- Add a session to the set of a participant, or remove it. A set that does not exist is not created.
-- Members with scores below zero are not sessions: `!whole` has the instant since which the set is complete, and
-- `!filling` is the lease on filling the set.
--
-- KEYS  1 set
-- ARGV  1 session id  2 ms at which the session began ('' removes it)
--       3 ms that the set reaches back, and that it stays after this call  4 maximum number of sessions

if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if not redis.call('ZSCORE', KEYS[1], '!whole') then
  -- The set is being filled. The holder of the lease can have queried Postgres before this session was in Postgres,
  -- so the lease is broken.
  return redis.call('DEL', KEYS[1])
end
if ARGV[2] == '' then
  redis.call('ZREM', KEYS[1], ARGV[1])
else
  redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
end
local time = redis.call('TIME')
local oldest = time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, '(' .. string.format('%.0f', oldest))
local excess = redis.call('ZCOUNT', KEYS[1], 0, '+inf') - tonumber(ARGV[4])
if excess > 0 then
  local last = redis.call('ZRANGEBYSCORE', KEYS[1], 0, '+inf', 'WITHSCORES', 'LIMIT', excess - 1, 1)
  redis.call('ZADD', KEYS[1], string.format('%.0f', -(tonumber(last[2]) + 1)), '!whole')
  redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, last[2])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
