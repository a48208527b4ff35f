-- Take the lease on filling a set or a summary that does not exist. The holder of the lease can store data that it
-- reads from Postgres afterwards. A drain that moves newer versions to Postgres breaks the lease.
--
-- KEYS  1 set or summary   ARGV  1 kind: set or digest (a summary)  2 lease token  3 ms that the lease lasts
-- Returns 1, or 0 if the set, the summary or another lease exists.

if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
if ARGV[1] == 'set' then
  redis.call('ZADD', KEYS[1], '-' .. ARGV[2], '!filling')
else
  redis.call('HSET', KEYS[1], 'lease', ARGV[2])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
