-- Put a session where it belongs in somebody's set, or take it out; nobody's set is made here.
-- Scores below zero are no places: `!whole` since when the set holds everything, `!filling` the lease of who fills it.
--
-- KEYS  1 set   ARGV  1 session id  2 when it began, ms ('' takes it out)  3 ms that the set goes back, and stays
--       4 how many sessions it holds at most

if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if not redis.call('ZSCORE', KEYS[1], '!whole') then
  -- Whoever is filling it may have asked Postgres before this was there.
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
local beyond = redis.call('ZCOUNT', KEYS[1], 0, '+inf') - tonumber(ARGV[4])
if beyond > 0 then
  local last = redis.call('ZRANGEBYSCORE', KEYS[1], 0, '+inf', 'WITHSCORES', 'LIMIT', beyond - 1, 1)
  redis.call('ZADD', KEYS[1], string.format('%.0f', -(tonumber(last[2]) + 1)), '!whole')
  redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, last[2])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
