-- Make a failed entry due now, with a new schedule.
--
-- KEYS  1 failed entries  2 the entry's hash   ARGV  1 entry id
-- Returns 1, or 0 if there is no such entry.

if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], 0, ARGV[1])
redis.call('HSET', KEYS[2], ':tries', 0)
return 1
