-- Extend the lease on a claimed session that cannot be expired, so that the session is not claimed again at once.
--
-- KEYS  1 deadlines   ARGV  1 session name  2 end of the lease in ms  3 new end of the lease in ms
-- Returns 1, or 0 if the lease does not hold, because a commit has written another deadline.

if redis.call('ZSCORE', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
return 1
