-- Keep an answer, where the lease on finding it out still stands.
--
-- KEYS  1 cache   ARGV  1 question  2 token  3 answer  4 ttl ms  5 how many answers and leases there may be
-- Returns 1, or 0 where it isn't kept.

if redis.call('HGET', KEYS[1], 'lease:' .. ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], 'lease:' .. ARGV[1])
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then return 0 end
redis.call('HSET', KEYS[1], 'answer:' .. ARGV[1], ARGV[3])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
return 1
