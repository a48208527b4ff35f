-- Make the next attempt of a failed entry due now, and reset its number of retries.
--
-- KEYS  1 failed entries  2 the hash of the failed entry   ARGV  1 entry id
-- Returns 1, or 0 if there is no such entry.

if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], 0, ARGV[1])
redis.call('HSET', KEYS[2], ':tries', 0)
return 1
