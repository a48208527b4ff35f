-- Extend the lease on a claimed session that cannot be expired, so that it is not claimed again at once.
--
-- KEYS  1 deadlines   ARGV  1 session id  2 the end of the lease in ms  3 its new end in ms
-- Returns 1, or 0 if the lease does not hold: a commit has written another deadline.

if redis.call('ZSCORE', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
return 1
