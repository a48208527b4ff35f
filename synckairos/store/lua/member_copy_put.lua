-- Store the copy of the members of a subject, if the lease of the reader still holds.
--
-- KEYS  1 copy   ARGV  1 lease  2 copy  3 TTL in ms
-- Returns 1, or 0 if the copy was not stored.

if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
