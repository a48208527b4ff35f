-- Store an answer in the read cache, if the lease of the reader still holds.
--
-- KEYS  1 hash of the read cache
-- ARGV  1 query  2 lease token  3 answer  4 TTL in ms  5 maximum number of answers and leases
-- Returns 1, or 0 if the answer was not stored.

if redis.call('HGET', KEYS[1], 'lease:' .. ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], 'lease:' .. ARGV[1])
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then return 0 end
redis.call('HSET', KEYS[1], 'answer:' .. ARGV[1], ARGV[3])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
return 1
